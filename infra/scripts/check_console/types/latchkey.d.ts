// The pages import the client's built file by this name, from the folder that serves them.
export * from "../../../sdk/typescript/src/index.js"
