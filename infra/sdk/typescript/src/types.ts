/** The data of the API, with the API's own names (snake_case), as its OpenAPI document has them. */

import type { components } from "./openapi.js"

type Schemas = components["schemas"]

/** A sign-in on one device, as its owner sees it. */
export type Session = Schemas["Session"]
/** The live sessions, the most recently used first, and how many there may be. */
export type SessionList = Schemas["SessionList"]
/** A user, as a sign-in shows them. */
export type User = Schemas["User"]
/** The caller's account. */
export type Account = Schemas["Account"]
/** How many sessions a request has ended. */
export type Revoked = Schemas["Revoked"]
/** How many ended sessions a request has removed for good. */
export type Removed = Schemas["Removed"]
/** One value that is not allowed: where it stands in the body (`pointer`), and what is wrong with it (`code`). */
export type InvalidValue = Schemas["InvalidValue"]
/** The body of a reply with tokens. */
export type Tokens = Schemas["Tokens"]
/** One entry of what has happened to an account. New types come: show one that you do not know by its name. */
export type ActivityEntry = Schemas["ActivityEntry"]
/** A page of the activity, the newest first. `next_cursor` is null on the last page. */
export type ActivityPage = Schemas["ActivityList"]
/** Everything that is stored about the caller. */
export type Export = Schemas["Export"]

/** What a sign-in and a registration need. */
export interface Credentials {
  /** The address as the person has typed it. */
  email: string
  /** The password as the person has typed it. */
  password: string
  /** What the list of sessions calls this device. Without it, what `User-Agent` tells. */
  device_name?: string
}
