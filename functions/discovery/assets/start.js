// A file of its own, because the page's Content-Security-Policy allows no script inside the page.
window.ui = SwaggerUIBundle({
  // Relative to this page: the API may be under a base path.
  url: "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  // No token stays in the browser's storage: a reload asks for a new sign-in.
  persistAuthorization: false,
  // No badge of an outside validator.
  validatorUrl: null,
  // The routes come first; the list of schemas below them opens when somebody wants it.
  defaultModelsExpandDepth: 0,
  // Whoever signs in here goes on as that user, without copying the token.
  responseInterceptor: (response) => {
    const token = response.obj?.access_token;
    if (token) {
      window.ui.preauthorizeApiKey("access_token", token);
    }
    return response;
  },
});
