// What the pages say in every view: one table of both languages, and the forms of times and numbers.

/** @typedef {keyof typeof WORDS | keyof typeof import('./account-words.js').ACCOUNT_WORDS | keyof typeof import('./admin-words.js').ADMIN_WORDS} Word */
/** @typedef {'en' | 'de'} Language */
/** @typedef {string | Live} Phrase */

/** English, then German. A text with `{n}` that differs for one has the form for one before a `|`. */
const WORDS = {
  // The frame
  devices: ['Devices', 'Geräte'],
  activity: ['Activity', 'Aktivität'],
  settings: ['Settings', 'Einstellungen'],
  administration: ['Administration', 'Verwaltung'],
  language: ['Language', 'Sprache'],
  skip: ['Skip to content', 'Zum Inhalt springen'],
  main_navigation: ['Main menu', 'Hauptmenü'],
  loading: ['Loading', 'Wird geladen'],
  try_again: ['Try again', 'Erneut versuchen'],
  cancel: ['Cancel', 'Abbrechen'],
  save: ['Save', 'Speichern'],
  signed_in_as: ['Signed in as', 'Angemeldet als'],
  offline: ['You are offline. What you see may be out of date.', 'Sie sind offline. Was Sie sehen, ist vielleicht nicht aktuell.'],
  stale: ['The list could not be refreshed; it was loaded {time}.', 'Die Liste konnte nicht aktualisiert werden; sie wurde {time} geladen.'],
  not_found: ['There is no such page', 'Diese Seite gibt es nicht'],
  not_found_text: ['The address may be mistyped, or the page has moved.', 'Vielleicht ist die Adresse falsch geschrieben, oder die Seite ist umgezogen.'],
  to_start: ['Go to the start page', 'Zur Startseite'],

  // Problems
  failed_offline: ['The service cannot be reached. Check your connection and try again.', 'Der Dienst ist nicht erreichbar. Prüfen Sie Ihre Verbindung und versuchen Sie es erneut.'],
  failed: ['That did not work. As far as we know nothing was changed. Please try again.', 'Das hat nicht geklappt. Soweit wir wissen, wurde nichts geändert. Bitte versuchen Sie es erneut.'],
  failed_load: ['This could not be loaded.', 'Das konnte nicht geladen werden.'],
  request: ['Request {id}', 'Anfrage {id}'],
  too_many: ['Too many attempts. Try again in {time}.', 'Zu viele Versuche. Bitte versuchen Sie es in {time} erneut.'],
  busy: ['The service is busy. Try again in {time}.', 'Der Dienst ist ausgelastet. Bitte versuchen Sie es in {time} erneut.'],
  required_password: ['Enter a password.', 'Geben Sie ein Passwort ein.'],
  reauthentication_required: ['This needs your password.', 'Dafür wird Ihr Passwort gebraucht.'],
  wrong_password: ['This is not your password.', 'Dieses Passwort ist nicht richtig.'],
  no_password: ['Your account has no password here, because you sign in with another service.', 'Ihr Konto hat hier kein Passwort, weil Sie sich über einen anderen Dienst anmelden.'],
  invalid_name: ['Choose a shorter name with at least one visible character, and without characters that change the direction of writing.', 'Wählen Sie einen kürzeren Namen mit mindestens einem sichtbaren Zeichen und ohne Zeichen, die die Schreibrichtung ändern.'],
  invalid_value: ['This value is not allowed.', 'Dieser Wert ist nicht erlaubt.'],
  not_available: ['This service does not offer that.', 'Das bietet dieser Dienst nicht an.'],

  // Signing in
  sign_in_to: ['Sign in to {name}', 'Bei {name} anmelden'],
  password: ['Password', 'Passwort'],
  show: ['Show', 'Anzeigen'],
  hide: ['Hide', 'Verbergen'],
  create: ['Create an account', 'Konto anlegen'],
  ended_elsewhere: ['You are signed out here: this session has expired or was ended elsewhere.', 'Sie sind hier abgemeldet: Diese Sitzung ist abgelaufen oder wurde anderswo beendet.'],
  ended_reuse: ['You are signed out here for your safety: somebody may have copied the key of this session. If you notice anything unusual, change the password that you sign in with.', 'Sie wurden hier sicherheitshalber abgemeldet: Jemand hat vielleicht den Schlüssel dieser Sitzung kopiert. Wenn Ihnen etwas ungewöhnlich vorkommt, ändern Sie das Passwort, mit dem Sie sich anmelden.'],
  ended_here: ['You are signed out.', 'Sie sind abgemeldet.'],
  ended_in_browser: ['You are signed out in this browser.', 'Sie sind in diesem Browser abgemeldet.'],
  other_user: ['Another account is signed in in this browser now.', 'In diesem Browser ist jetzt ein anderes Konto angemeldet.'],
  ended_everywhere: ['You are signed out on all devices.', 'Sie sind auf allen Geräten abgemeldet.'],
  forgot_title: ['Reset your password', 'Passwort zurücksetzen'],
  choose_password: ['Choose a new password', 'Neues Passwort wählen'],
  confirm_email: ['Confirm your e-mail address', 'E-Mail-Adresse bestätigen'],

  // Devices
  devices_title: ['Your devices', 'Ihre Geräte'],
  devices_text: ['This is where you are signed in. Sign out devices that you do not use or do not recognise.', 'Hier sind Sie angemeldet. Melden Sie Geräte ab, die Sie nicht benutzen oder nicht erkennen.'],
  this_device: ['This device', 'Dieses Gerät'],
  other_devices: ['Other devices', 'Andere Geräte'],
  count_of_limit: ['{n} of at most {limit} devices', '{n} von höchstens {limit} Geräten'],
  near_limit: ['You are signed in on {n} devices. At most {limit} are possible: after that, each new sign-in signs out the device that you have not used for the longest time.', 'Sie sind auf {n} Geräten angemeldet. Höchstens {limit} sind möglich: Danach meldet jede neue Anmeldung das Gerät ab, das Sie am längsten nicht benutzt haben.'],
  no_others: ['You are not signed in anywhere else.', 'Sie sind sonst nirgends angemeldet.'],
  active_now: ['Active now', 'Jetzt aktiv'],
  active: ['Active {time}', 'Aktiv {time}'],
  last_active_at: ['Last active: {time}', 'Zuletzt aktiv: {time}'],
  just_now: ['just now', 'gerade eben'],
  signed_in: ['Signed in {time}', 'Angemeldet: {time}'],
  unknown_place: ['Unknown location', 'Unbekannter Ort'],
  new_device: ['New device', 'Neues Gerät'],
  unusual_place: ['Unusual location', 'Ungewöhnlicher Ort'],
  rename: ['Rename', 'Umbenennen'],
  rename_of: ['Rename {device}', '{device} umbenennen'],
  name: ['Name', 'Name'],
  name_hint: ['Leave it empty to show the type of device.', 'Leer lassen, um die Art des Geräts anzuzeigen.'],
  renamed: ['The name is saved.', 'Der Name ist gespeichert.'],
  sign_out: ['Sign out', 'Abmelden'],
  sign_out_of: ['Sign out {device}', '{device} abmelden'],
  sign_out_title: ['Sign out this device?', 'Dieses Gerät abmelden?'],
  sign_out_text: ['You will have to sign in on it again. What is open there may stay visible.', 'Dort müssen Sie sich dann wieder anmelden. Was dort geöffnet ist, bleibt vielleicht sichtbar.'],
  sign_out_here_title: ['Sign out here?', 'Hier abmelden?'],
  sign_out_here_text: ['You will have to sign in again on this device.', 'Auf diesem Gerät müssen Sie sich dann wieder anmelden.'],
  signed_out: ['Signed out', 'Abgemeldet'],
  signed_out_of: ['{device} is signed out.', '{device} ist abgemeldet.'],
  already_out: ['{device} was already signed out.', '{device} war bereits abgemeldet.'],
  sign_out_others: ['Sign out the other device|Sign out {n} others', 'Das andere Gerät abmelden|{n} andere abmelden'],
  sign_out_others_title: ['Sign out the other device?|Sign out {n} other devices?', 'Das andere Gerät abmelden?|{n} andere Geräte abmelden?'],
  sign_out_others_text: ['You stay signed in here. On all other devices you will have to sign in again.', 'Hier bleiben Sie angemeldet. Auf allen anderen Geräten müssen Sie sich wieder anmelden.'],
  others_out: ['1 device is signed out.|{n} devices are signed out.', '1 Gerät ist abgemeldet.|{n} Geräte sind abgemeldet.'],
  sign_out_everywhere: ['Sign out everywhere', 'Überall abmelden'],
  sign_out_everywhere_title: ['Sign out everywhere, including here?', 'Überall abmelden, auch hier?'],
  sign_out_everywhere_text: ['You will have to sign in again on every device.', 'Auf jedem Gerät müssen Sie sich wieder anmelden.'],
  not_you: ['You do not recognise a device? Sign it out and change the password that you sign in with.', 'Sie erkennen ein Gerät nicht? Melden Sie es ab und ändern Sie das Passwort, mit dem Sie sich anmelden.'],
  type_desktop: ['Computer', 'Computer'],
  type_mobile: ['Phone', 'Telefon'],
  type_tablet: ['Tablet', 'Tablet'],
  type_tv: ['TV', 'Fernseher'],
  type_bot: ['Program', 'Programm'],
  type_unknown: ['Device', 'Gerät'],
  unknown_device: ['Unknown device', 'Unbekanntes Gerät'],

  // Step-up
  prove_title: ['Confirm that it is you', 'Bestätigen Sie, dass Sie es sind'],
  prove_text: ['Enter your password to continue.', 'Geben Sie Ihr Passwort ein, um fortzufahren.'],
  continue: ['Continue', 'Weiter'],

  // Settings
  settings_title: ['Settings', 'Einstellungen'],
  without_email: ['User without an e-mail address', 'Person ohne E-Mail-Adresse'],

  // Activity
  activity_title: ['Your activity', 'Ihre Aktivität'],
}

/** @type {Record<string, string[]>} */
const table = { ...WORDS }

/** Adds what another page says. @param {Record<string, string[]>} words */
export const addWords = (words) => void Object.assign(table, words)

const STORED = 'latchkey-language'
const ORDER = /** @type {const} */ (['en', 'de'])

/** The languages, as they call themselves. */
export const LANGUAGES = /** @type {const} */ ({ en: 'English', de: 'Deutsch' })

/** What was chosen here, else the first of the browser's languages (its `Accept-Language`) that there is. @returns {Language} */
function wanted() {
  const browser = navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase())
  const all = [stored(), ...browser]
  return ORDER.find((one) => one === all.find((tag) => ORDER.some((known) => known === tag))) ?? 'en'
}

function stored() {
  try {
    return localStorage.getItem(STORED)
  } catch {
    return null // A browser may refuse storage.
  }
}

/** @type {Language} */
export let language = wanted()
document.documentElement.lang = language

/** The language as it is written where the browser is, such as `en-GB`. */
const region = () => navigator.languages.find((tag) => tag.toLowerCase().startsWith(language)) ?? language

/** Keeps a language for this browser. @param {Language} chosen */
export function chooseLanguage(chosen) {
  language = chosen
  document.documentElement.lang = chosen
  try {
    localStorage.setItem(STORED, chosen)
  } catch {
    // It holds until the page is left.
  }
}

/** A text that is made whenever it is read, so that it is right in another language too. */
export class Live {
  /** @param {() => string} read */
  constructor(read) {
    this.toString = read
  }
}

/** @param {() => string} read */
export const live = (read) => new Live(read)

/** A text that may have a form for one, in the language that is chosen when it is read. @param {Word} word @param {Record<string, Phrase | number>} [values] */
export const say = (word, values = {}) =>
  live(() => {
    const text = table[word]?.[ORDER.indexOf(language)] ?? ''
    const forms = text.split('|')
    const form = forms.length > 1 && values['n'] !== 1 ? forms[1] : forms[0]
    return String(form).replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ''))
  })

/** The word of a name that the API gives, if there is one. @param {string} name @param {Word} otherwise */
export function wordOf(name, otherwise) {
  return name in table ? /** @type {Word} */ (name) : otherwise
}

/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [['year', 31_536_000], ['month', 2_592_000], ['day', 86_400], ['hour', 3_600], ['minute', 60], ['second', 1]]

/** "3 minutes ago". Under a minute, and what a slow clock calls the future, is "just now". @param {Date} time */
export const ago = (time) =>
  live(() => {
    const seconds = Math.min(0, Math.round((time.getTime() - Date.now()) / 1000))
    const unit = seconds > -60 ? undefined : UNITS.find(([, length]) => -seconds >= length)
    if (!unit) return String(say('just_now'))
    return new Intl.RelativeTimeFormat(region(), { numeric: 'always' }).format(Math.ceil(seconds / unit[1]), unit[0])
  })

/** A wait, as "12 seconds". @param {number} seconds */
export function duration(seconds) {
  const [unit, length] = seconds > 90 ? /** @type {const} */ (['minute', 60]) : /** @type {const} */ (['second', 1])
  const count = Math.max(1, Math.ceil(seconds / length))
  return live(() => new Intl.NumberFormat(region(), { style: 'unit', unit, unitDisplay: 'long' }).format(count))
}

/** A time in a form. @param {Date} time @param {Intl.DateTimeFormatOptions} style */
export const written = (time, style) => live(() => new Intl.DateTimeFormat(region(), style).format(time))

/** The whole date and time. @param {Date} time */
export const absolute = (time) => written(time, { dateStyle: 'long', timeStyle: 'short' })

/** A country by its two letters. @param {string} code */
export const country = (code) =>
  live(() => {
    try {
      return new Intl.DisplayNames(region(), { type: 'region' }).of(code) ?? code
    } catch {
      return code // No region that the standard knows.
    }
  })
