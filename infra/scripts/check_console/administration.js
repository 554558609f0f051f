export async function checkAdministration() {}
