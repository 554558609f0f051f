// What the pages say: one table of both languages, and the forms of times and numbers.

/** @typedef {keyof typeof WORDS | keyof typeof import('./admin-words.js').ADMIN_WORDS} Word */
/** @typedef {'en' | 'de'} Language */

/** English, then German. A text with `{n}` that differs for one has the form for one before a `|`. */
const WORDS = {
  // The frame
  devices: ['Devices', 'Geräte'],
  activity: ['Activity', 'Aktivität'],
  settings: ['Settings', 'Einstellungen'],
  users: ['Users', 'Personen'],
  language: ['Language', 'Sprache'],
  skip: ['Skip to content', 'Zum Inhalt springen'],
  main_navigation: ['Your account', 'Ihr Konto'],
  loading: ['Loading', 'Wird geladen'],
  try_again: ['Try again', 'Erneut versuchen'],
  cancel: ['Cancel', 'Abbrechen'],
  save: ['Save', 'Speichern'],
  offline: ['You are offline. What you see may be out of date.', 'Sie sind offline. Was Sie sehen, ist vielleicht nicht aktuell.'],
  not_found: ['There is no such page', 'Diese Seite gibt es nicht'],
  not_found_text: ['The address may be mistyped, or the page has moved.', 'Vielleicht ist die Adresse falsch geschrieben, oder die Seite ist umgezogen.'],
  to_devices: ['Go to your devices', 'Zu Ihren Geräten'],

  // Problems
  failed_offline: ['The service cannot be reached. Check your connection and try again.', 'Der Dienst ist nicht erreichbar. Prüfen Sie Ihre Verbindung und versuchen Sie es erneut.'],
  failed: ['That did not work. Nothing was changed as far as we know; please try again.', 'Das hat nicht geklappt. Soweit wir wissen, wurde nichts geändert; bitte versuchen Sie es erneut.'],
  failed_load: ['This could not be loaded.', 'Das konnte nicht geladen werden.'],
  request: ['Request {id}', 'Anfrage {id}'],
  too_many: ['Too many attempts. Try again in {time}.', 'Zu viele Versuche. Bitte in {time} erneut versuchen.'],
  busy: ['The service is busy. Try again in {time}.', 'Der Dienst ist ausgelastet. Bitte in {time} erneut versuchen.'],
  required_email: ['Enter your e-mail address.', 'Geben Sie Ihre E-Mail-Adresse ein.'],
  invalid_email: ['This is not a complete e-mail address, such as ada@example.com.', 'Das ist keine vollständige E-Mail-Adresse wie ada@example.com.'],
  required_password: ['Enter your password.', 'Geben Sie Ihr Passwort ein.'],
  short_password: ['A password has at least 8 characters.', 'Ein Passwort hat mindestens 8 Zeichen.'],
  long_password: ['A password has at most 128 characters.', 'Ein Passwort hat höchstens 128 Zeichen.'],
  weak_password: ['This password is too easy to guess. Try three or four words that do not belong together.', 'Dieses Passwort ist zu leicht zu erraten. Nehmen Sie drei oder vier Wörter, die nicht zusammengehören.'],
  password_unchanged: ['This is the password that you have now.', 'Das ist Ihr jetziges Passwort.'],
  wrong_password: ['This is not your password.', 'Das ist nicht Ihr Passwort.'],
  no_password: ['Your account has no password, because you sign in elsewhere.', 'Ihr Konto hat kein Passwort, weil Sie sich anderswo anmelden.'],
  invalid_credentials: ['E-mail address and password do not fit together.', 'E-Mail-Adresse und Passwort passen nicht zusammen.'],
  account_disabled: ['This account is closed. Ask those who run this service.', 'Dieses Konto ist gesperrt. Wenden Sie sich an die Betreiber dieses Dienstes.'],
  email_not_verified: ['Confirm your e-mail address first: open the link that we have sent you.', 'Bestätigen Sie zuerst Ihre E-Mail-Adresse: Öffnen Sie den Link, den wir Ihnen geschickt haben.'],
  email_taken: ['There is an account with this address already.', 'Mit dieser Adresse gibt es schon ein Konto.'],
  invalid_link: ['This link has expired or has been used already.', 'Dieser Link ist abgelaufen oder wurde schon benutzt.'],
  invalid_name: ['A name is short, shows at least one character, and has no marks that change the direction of writing.', 'Ein Name ist kurz, zeigt mindestens ein Zeichen und enthält keine Zeichen, die die Schreibrichtung ändern.'],
  invalid_value: ['This value is not allowed.', 'Dieser Wert ist nicht erlaubt.'],
  registration_closed: ['No new accounts are made here.', 'Hier werden keine neuen Konten angelegt.'],
  not_available: ['This service does not offer that.', 'Dieser Dienst bietet das nicht an.'],

  // Signing in
  sign_in: ['Sign in', 'Anmelden'],
  sign_in_to: ['Sign in to {name}', 'Bei {name} anmelden'],
  email: ['E-mail address', 'E-Mail-Adresse'],
  password: ['Password', 'Passwort'],
  show_password: ['Show password', 'Passwort zeigen'],
  show: ['Show', 'Zeigen'],
  hide: ['Hide', 'Verbergen'],
  forgot: ['Forgot your password?', 'Passwort vergessen?'],
  new_here: ['New here?', 'Neu hier?'],
  create: ['Create an account', 'Konto anlegen'],
  have_account: ['You have an account?', 'Sie haben ein Konto?'],
  password_hint: ['At least 8 characters. Several words make a good password.', 'Mindestens 8 Zeichen. Mehrere Wörter ergeben ein gutes Passwort.'],
  ended_elsewhere: ['You are signed out here: this session has ended, or was ended from another device.', 'Sie sind hier abgemeldet: Diese Sitzung ist abgelaufen oder wurde von einem anderen Gerät beendet.'],
  ended_reuse: ['You are signed out here for your safety: an old key of this session was used again. If you did not expect that, change your password.', 'Sie sind hier sicherheitshalber abgemeldet: Ein alter Schlüssel dieser Sitzung wurde noch einmal benutzt. Falls Sie das nicht erwartet haben, ändern Sie Ihr Passwort.'],
  ended_here: ['You are signed out.', 'Sie sind abgemeldet.'],
  ended_everywhere: ['You are signed out on all devices.', 'Sie sind auf allen Geräten abgemeldet.'],
  deleted_done: ['Your account is deleted.', 'Ihr Konto ist gelöscht.'],
  registered: ['Your account is ready.', 'Ihr Konto ist angelegt.'],
  check_mail: ['Check your mail', 'Sehen Sie in Ihre E-Mails'],
  check_mail_text: ['We have sent a link to {email}. Open it to confirm that the address is yours.', 'Wir haben einen Link an {email} geschickt. Öffnen Sie ihn, um zu bestätigen, dass die Adresse Ihnen gehört.'],
  forgot_title: ['Reset your password', 'Passwort zurücksetzen'],
  forgot_text: ['We send you a link with which you choose a new password.', 'Wir schicken Ihnen einen Link, mit dem Sie ein neues Passwort wählen.'],
  send_link: ['Send the link', 'Link schicken'],
  forgot_sent: ['If there is an account with {email}, a link is on its way. It is valid for a few minutes.', 'Falls es ein Konto mit {email} gibt, ist ein Link unterwegs. Er gilt einige Minuten.'],
  back_to_sign_in: ['Back to sign-in', 'Zurück zur Anmeldung'],
  choose_password: ['Choose a new password', 'Neues Passwort wählen'],
  choose_password_text: ['Afterwards you are signed out on all devices and sign in with the new password.', 'Danach sind Sie auf allen Geräten abgemeldet und melden sich mit dem neuen Passwort an.'],
  new_password: ['New password', 'Neues Passwort'],
  password_reset_done: ['Your password is changed and all devices are signed out. Sign in with the new one.', 'Ihr Passwort ist geändert und alle Geräte sind abgemeldet. Melden Sie sich mit dem neuen an.'],
  confirm_email: ['Confirm your e-mail address', 'E-Mail-Adresse bestätigen'],
  confirm_email_text: ['One more step: confirm that you have opened this link yourself.', 'Noch ein Schritt: Bestätigen Sie, dass Sie diesen Link selbst geöffnet haben.'],
  confirm: ['Confirm', 'Bestätigen'],
  email_confirmed: ['Your e-mail address is confirmed.', 'Ihre E-Mail-Adresse ist bestätigt.'],
  link_incomplete: ['This link is not complete. Open it as it stands in the mail.', 'Dieser Link ist nicht vollständig. Öffnen Sie ihn so, wie er in der E-Mail steht.'],
  new_link: ['Ask for a new link', 'Neuen Link anfordern'],

  // Devices
  devices_title: ['Your devices', 'Ihre Geräte'],
  devices_text: ['Where you are signed in. Sign out what you do not use or do not know.', 'Wo Sie angemeldet sind. Melden Sie ab, was Sie nicht benutzen oder nicht kennen.'],
  this_device: ['This device', 'Dieses Gerät'],
  other_devices: ['Other devices', 'Andere Geräte'],
  count_of_limit: ['{n} of at most {limit} devices', '{n} von höchstens {limit} Geräten'],
  near_limit: ['You are signed in on {n} devices of at most {limit}. Beyond that, each new sign-in ends the device that was not used for the longest time.', 'Sie sind auf {n} von höchstens {limit} Geräten angemeldet. Darüber hinaus beendet jede neue Anmeldung das am längsten unbenutzte Gerät.'],
  no_others: ['You are signed in nowhere else.', 'Sie sind nirgendwo sonst angemeldet.'],
  active_now: ['Active now', 'Jetzt aktiv'],
  active: ['Active {time}', 'Aktiv {time}'],
  last_active: ['Last active {time}', 'Zuletzt aktiv {time}'],
  just_now: ['just now', 'gerade eben'],
  signed_in: ['Signed in {time}', 'Angemeldet {time}'],
  unknown_place: ['Unknown place', 'Unbekannter Ort'],
  new_device: ['New device', 'Neues Gerät'],
  unusual_place: ['Unusual place', 'Ungewohnter Ort'],
  rename: ['Rename', 'Umbenennen'],
  rename_of: ['Rename {device}', '{device} umbenennen'],
  name: ['Name', 'Name'],
  name_hint: ['Leave it empty to show what the device is.', 'Leer lassen, um zu zeigen, was es für ein Gerät ist.'],
  renamed: ['The name is saved.', 'Der Name ist gespeichert.'],
  sign_out: ['Sign out', 'Abmelden'],
  sign_out_of: ['Sign out {device}', '{device} abmelden'],
  sign_out_title: ['Sign out this device?', 'Dieses Gerät abmelden?'],
  sign_out_text: ['It has to sign in again with your password. What it has loaded may still be visible on it.', 'Es muss sich mit Ihrem Passwort neu anmelden. Was es geladen hat, bleibt dort vielleicht sichtbar.'],
  sign_out_here_title: ['Sign out here?', 'Hier abmelden?'],
  signed_out: ['Signed out', 'Abgemeldet'],
  signed_out_of: ['{device} is signed out.', '{device} ist abgemeldet.'],
  already_out: ['{device} had been signed out already.', '{device} war bereits abgemeldet.'],
  sign_out_others: ['Sign out the other one|Sign out {n} others', 'Das andere abmelden|{n} andere abmelden'],
  sign_out_others_title: ['Sign out the other device?|Sign out {n} other devices?', 'Das andere Gerät abmelden?|{n} andere Geräte abmelden?'],
  sign_out_others_text: ['You stay signed in here, and everywhere else your password is needed again.', 'Hier bleiben Sie angemeldet, überall sonst wird Ihr Passwort wieder gebraucht.'],
  others_out: ['1 device is signed out.|{n} devices are signed out.', '1 Gerät ist abgemeldet.|{n} Geräte sind abgemeldet.'],
  sign_out_everywhere: ['Sign out everywhere', 'Überall abmelden'],
  sign_out_everywhere_title: ['Sign out everywhere, here too?', 'Überall abmelden, auch hier?'],
  sign_out_everywhere_text: ['On every device your password is needed again.', 'Auf jedem Gerät wird Ihr Passwort wieder gebraucht.'],
  not_you: ['You do not know a device? Sign it out and change your password.', 'Sie kennen ein Gerät nicht? Melden Sie es ab und ändern Sie Ihr Passwort.'],
  change_password: ['Change password', 'Passwort ändern'],
  type_desktop: ['Computer', 'Computer'],
  type_mobile: ['Phone', 'Telefon'],
  type_tablet: ['Tablet', 'Tablet'],
  type_tv: ['Television', 'Fernseher'],
  type_bot: ['Program', 'Programm'],
  type_unknown: ['Device', 'Gerät'],
  unknown_device: ['Unknown device', 'Unbekanntes Gerät'],

  // Step-up
  prove_title: ['Is it still you?', 'Sind Sie es noch?'],
  prove_text: ['Enter your password to continue.', 'Geben Sie Ihr Passwort ein, um fortzufahren.'],
  continue: ['Continue', 'Weiter'],

  // Settings
  settings_title: ['Settings', 'Einstellungen'],
  email_verified: ['Confirmed', 'Bestätigt'],
  email_unverified: ['Not confirmed', 'Nicht bestätigt'],
  resend: ['Send the link again', 'Link erneut schicken'],
  link_sent: ['We have sent a link to {email}.', 'Wir haben einen Link an {email} geschickt.'],
  change_email: ['Change address', 'Adresse ändern'],
  change_email_text: ['We send a link to the new address. The change counts when you have opened it.', 'Wir schicken einen Link an die neue Adresse. Die Änderung gilt, sobald Sie ihn geöffnet haben.'],
  new_email: ['New e-mail address', 'Neue E-Mail-Adresse'],
  current_password: ['Current password', 'Jetziges Passwort'],
  password_text: ['All other devices are signed out when you change it.', 'Alle anderen Geräte werden abgemeldet, wenn Sie es ändern.'],
  password_changed: ['Your password is changed. All other devices are signed out.', 'Ihr Passwort ist geändert. Alle anderen Geräte sind abgemeldet.'],
  your_data: ['Your data', 'Ihre Daten'],
  export_text: ['Everything that is stored about you, as a file.', 'Alles, was über Sie gespeichert ist, als Datei.'],
  export: ['Download', 'Herunterladen'],
  exported: ['Your data is downloaded.', 'Ihre Daten sind heruntergeladen.'],
  delete_account: ['Delete account', 'Konto löschen'],
  delete_text: ['All devices are signed out, everything that is stored about you goes, and it cannot be undone.', 'Alle Geräte werden abgemeldet, alles über Sie Gespeicherte wird entfernt, und es lässt sich nicht rückgängig machen.'],
  delete_title: ['Delete your account?', 'Ihr Konto löschen?'],
  delete_for_good: ['Delete for good', 'Endgültig löschen'],

  without_email: ['User without an e-mail address', 'Person ohne E-Mail-Adresse'],

  // Activity
  activity_title: ['Your activity', 'Ihre Aktivität'],
  activity_text: ['What has happened to your account. You do not recognise something? Change your password.', 'Was mit Ihrem Konto geschehen ist. Sie erkennen etwas nicht wieder? Ändern Sie Ihr Passwort.'],
  no_activity: ['Nothing has happened yet.', 'Bisher ist nichts geschehen.'],
  more: ['Show more', 'Mehr zeigen'],
  today: ['Today', 'Heute'],
  yesterday: ['Yesterday', 'Gestern'],
  event_session_created: ['Signed in', 'Angemeldet'],
  event_session_ended: ['Signed out', 'Abgemeldet'],
  event_session_renamed: ['Device renamed', 'Gerät umbenannt'],
  event_session_moved: ['Device in another place', 'Gerät an einem anderen Ort'],
  event_sign_in_failed: ['Sign-in refused', 'Anmeldung abgelehnt'],
  event_sign_in_blocked: ['Sign-in blocked after too many attempts', 'Anmeldung nach zu vielen Versuchen gesperrt'],
  event_user_created: ['Account created', 'Konto angelegt'],
  event_user_email_verified: ['E-mail address confirmed', 'E-Mail-Adresse bestätigt'],
  event_user_email_changed: ['E-mail address changed', 'E-Mail-Adresse geändert'],
  event_user_password_changed: ['Password changed', 'Passwort geändert'],
  event_user_reauthenticated: ['Password confirmed', 'Passwort bestätigt'],
  event_user_disabled: ['Account closed', 'Konto gesperrt'],
  event_user_enabled: ['Account opened', 'Konto geöffnet'],
  event_user_deleted: ['Account deleted', 'Konto gelöscht'],
  event_password_reset_requested: ['Link to reset the password requested', 'Link zum Zurücksetzen des Passworts angefordert'],
  event_user_roles_changed: ['Your role was changed', 'Ihre Rolle wurde geändert'],
  event_email_verification_requested: ['A link to confirm the address was asked for', 'Ein Link zum Bestätigen der Adresse wurde angefordert'],
  event_email_change_requested: ['A change of the e-mail address was asked for', 'Eine neue E-Mail-Adresse wurde angefordert'],
  event_registration_repeated: ['Somebody tried to register with your address', 'Jemand wollte sich mit Ihrer Adresse registrieren'],
  event_other: ['Change of the account', 'Änderung am Konto'],
  reason_invalid_credentials: ['because the password was wrong', 'weil das Passwort falsch war'],
  reason_email_not_verified: ['although the password was right: the address is not confirmed', 'obwohl das Passwort richtig war: Die Adresse ist nicht bestätigt'],
  reason_logged_out: ['by signing out', 'durch Abmelden'],
  reason_revoked: ['from another device', 'von einem anderen Gerät'],
  reason_revoked_all: ['with all other devices', 'mit allen anderen Geräten'],
  reason_replaced: ['by a new sign-in on the same device', 'durch neue Anmeldung auf demselben Gerät'],
  reason_evicted: ['to make room for a new device', 'um Platz für ein neues Gerät zu machen'],
  reason_expired: ['by expiry', 'durch Ablauf'],
  reason_token_reuse: ['for your safety: an old key was used again', 'sicherheitshalber: Ein alter Schlüssel wurde noch einmal benutzt'],
  reason_password_changed: ['because the password was changed', 'weil das Passwort geändert wurde'],
  reason_password_reset: ['because the password was reset', 'weil das Passwort zurückgesetzt wurde'],
  reason_account_disabled: ['because the account is disabled', 'weil das Konto gesperrt ist'],
  reason_account_deleted: ['because the account was deleted', 'weil das Konto gelöscht wurde'],
  reason_admin: ['by an administrator', 'durch die Verwaltung'],
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

/** Fills a text that may have a form for one. @param {Word} word @param {Record<string, string | number>} [values] */
export function say(word, values = {}) {
  const text = table[word]?.[ORDER.indexOf(language)] ?? ''
  const forms = text.split('|')
  const form = forms.length > 1 && values['n'] !== 1 ? forms[1] : forms[0]
  return String(form).replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ''))
}

/** The word of a name that the API gives, if there is one. @param {string} name @param {Word} otherwise */
export function wordOf(name, otherwise) {
  return name in table ? /** @type {Word} */ (name) : otherwise
}

/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [['year', 31_536_000], ['month', 2_592_000], ['day', 86_400], ['hour', 3_600], ['minute', 60], ['second', 1]]

/** "3 minutes ago". Under a minute, and what a slow clock calls the future, is "just now". @param {Date} time */
export function ago(time, now = Date.now()) {
  const seconds = Math.min(0, Math.round((time.getTime() - now) / 1000))
  const format = new Intl.RelativeTimeFormat(region(), { numeric: 'auto' })
  if (seconds > -60) return say('just_now')
  for (const [unit, length] of UNITS) {
    if (-seconds >= length) return format.format(Math.ceil(seconds / length), unit)
  }
  return say('just_now')
}

/** A wait, as "12 seconds". @param {number} seconds */
export function duration(seconds) {
  const [unit, length] = seconds > 90 ? /** @type {const} */ (['minute', 60]) : /** @type {const} */ (['second', 1])
  const count = Math.max(1, Math.ceil(seconds / length))
  return new Intl.NumberFormat(region(), { style: 'unit', unit, unitDisplay: 'long' }).format(count)
}

/** The whole date and time. @param {Date} time */
export const absolute = (time) =>
  new Intl.DateTimeFormat(region(), { dateStyle: 'long', timeStyle: 'short' }).format(time)

/** The time of a day. @param {Date} time */
export const clock = (time) => new Intl.DateTimeFormat(region(), { timeStyle: 'short' }).format(time)

/** The day, with the two last ones by their names. @param {Date} time */
export function day(time) {
  const midnight = new Date()
  midnight.setHours(0, 0, 0, 0)
  if (time >= midnight) return say('today')
  midnight.setDate(midnight.getDate() - 1)
  if (time >= midnight) return say('yesterday')
  return new Intl.DateTimeFormat(region(), { dateStyle: 'full' }).format(time)
}

/** A country by its two letters. @param {string} code */
export function country(code) {
  try {
    return new Intl.DisplayNames(region(), { type: 'region' }).of(code) ?? code
  } catch {
    return code // No region that the standard knows.
  }
}
