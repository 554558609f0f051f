/** The client of Latchkey. README.md has the tour. */

export { createClient, type Api, type Client, type ClientOptions } from "./client.js"
export { LatchkeyError, type ClientCode, type ErrorCode, type ErrorDetails, type ProblemCode } from "./error.js"
export type { SignedIn, SignedOut, State, Unknown } from "./session.js"
export type { KeyValueStorage } from "./storage.js"
export type {
  Account,
  ActivityEntry,
  ActivityPage,
  Credentials,
  Export,
  InvalidValue,
  Removed,
  Revoked,
  Session,
  SessionList,
  User,
} from "./types.js"
