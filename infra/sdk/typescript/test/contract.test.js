// The client against the OpenAPI document: every operation of a user, and every code that one can answer.

import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { after, before, test } from "node:test"
import { createClient } from "../dist/latchkey.js"
import { answer, OTHER_PASSWORD, PASSWORD, startProxy, startStack } from "./stack.js"

const openapi = JSON.parse(readFileSync(process.env.OPENAPI))
/** What is not for a user's client: routes of administrators, of services, and what describes the API. */
const ABSENT = ["Administration", "Clients", "Discovery", "Pages"]
/** What is no single request. */
const LOCAL = ["constructor", "state", "onChange", "dispose", "restore", "getAccessToken", "fetch"]

const email = "contract@example.com"
const id = "0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11"
/** Each method once, in an order in which a user could. */
const calls = {
  register: [{ email, password: PASSWORD, device_name: "Laptop" }],
  signOut: [],
  signIn: [{ email, password: PASSWORD, device_name: "Laptop" }],
  getSessions: [],
  getSession: [],
  renameSession: [id, "Kitchen"],
  revokeSession: [id],
  revokeOthers: [],
  removeExpiredSessions: [],
  me: [],
  reauthenticate: [{ password: PASSWORD }],
  activity: [{ cursor: "c", limit: 10 }],
  exportData: [],
  changeEmail: [{ email: "new@example.com", password: PASSWORD }],
  requestEmailVerification: [],
  verifyEmail: [{ token: "t" }],
  requestPasswordReset: [{ email }],
  confirmPasswordReset: [{ token: "t", new_password: OTHER_PASSWORD }],
  changePassword: [{ current_password: PASSWORD, new_password: OTHER_PASSWORD }],
  logoutAll: [],
  deleteAccount: [{ password: OTHER_PASSWORD }],
}

let stack, proxy
before(async () => {
  stack = await startStack()
  proxy = await startProxy(stack.api)
})
after(() => Promise.all([proxy.stop(), stack.stop()]))

const operations = Object.entries(openapi.paths).flatMap(([path, methods]) =>
  Object.entries(methods)
    .filter(([, operation]) => operation.operationId)
    .map(([method, operation]) => ({ path, method: method.toUpperCase(), ...operation })),
)
const ofUsers = operations.filter(({ tags }) => !tags.some((tag) => ABSENT.includes(tag)))
const resolve = (schema) => (schema?.$ref ? openapi.components.schemas[schema.$ref.split("/").at(-1)] : schema)

test("every method is called here", () => {
  const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(createClient({ url: proxy.url }))).filter((name) => !LOCAL.includes(name))
  assert.deepEqual(methods.sort(), Object.keys(calls).sort())
})

test("every operation of a user is there, as the document has it", async () => {
  const client = createClient({ url: proxy.url })
  for (const [name, parts] of Object.entries(calls)) {
    if (name === "deleteAccount") await client.signIn({ email, password: OTHER_PASSWORD })
    await client[name](...parts).catch((error) => {
      if (!["session_not_found", "invalid_link", "invalid_request"].includes(error.code)) throw error
    })
  }
  await client.register({ email: "other@example.com", password: PASSWORD })
  proxy.next("/v1/me", answer(401))
  await client.fetch(`${proxy.url}/v1/me`)
  const found = new Set()
  for (const { method, url, body } of proxy.seen) {
    const { pathname, searchParams } = new URL(url, proxy.url)
    const matches = operations.filter((one) => one.method === method && new RegExp(`^${one.path.replace(/{\w+}/g, "[^/]+")}$`).test(pathname))
    // A literal path comes before one with a parameter.
    const operation = matches.sort((one, other) => one.path.includes("{") - other.path.includes("{"))[0]
    assert.ok(operation, `${method} ${pathname} is not in the document`)
    found.add(operation.operationId)
    const parameters = (operation.parameters ?? []).filter((one) => one.in === "query").map((one) => one.name)
    for (const name of searchParams.keys()) assert.ok(parameters.includes(name), `${pathname} has no query parameter ${name}`)
    if (!body) continue
    const schema = resolve(operation.requestBody?.content["application/json"].schema)
    assert.ok(schema, `${pathname} takes no body`)
    const fields = Object.keys(JSON.parse(body))
    for (const field of fields) assert.ok(field in schema.properties, `${pathname} has no field ${field}`)
    for (const field of schema.required ?? []) assert.ok(fields.includes(field), `${pathname} wants ${field}`)
  }
  const missing = ofUsers.map((one) => one.operationId).filter((one) => !found.has(one))
  assert.deepEqual(missing, [], "operations that the client lacks")
})

test("every code of these operations is known, and no other", () => {
  const source = readFileSync(new URL("../src/error.ts", import.meta.url), "utf8")
  const union = /export type ProblemCode =([^]*?)\n\n/.exec(source)[1]
  const known = [...union.matchAll(/\| "(\w+)"/g)].map((match) => match[1])
  const answered = new Set()
  for (const { responses } of ofUsers) {
    for (const { content = {} } of Object.values(responses)) {
      for (const name of Object.keys(content["application/problem+json"]?.examples ?? {})) answered.add(name)
    }
  }
  assert.ok(answered.size > 15, "the document names codes")
  // Of services that refresh for their visitors, by HTTP Basic: no client of a user sends that.
  for (const code of ["invalid_client", "unauthorized_client"]) answered.delete(code)
  assert.deepEqual([...answered].filter((code) => !known.includes(code)), [], "codes that the client lacks")
  const all = openapi.components.schemas.Code.examples
  assert.deepEqual(known.filter((code) => !all.includes(code)), [], "codes that nobody answers")
})
