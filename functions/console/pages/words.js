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
  signed_in_as: ['Signed in as', 'Angemeldet als'],
  offline: ['You are offline. What you see may be out of date.', 'Sie sind offline. Was Sie sehen, ist vielleicht nicht aktuell.'],
  stale: ['The list could not be refreshed; it was loaded {time}.', 'Die Liste konnte nicht aktualisiert werden; sie wurde {time} geladen.'],
  not_found: ['There is no such page', 'Diese Seite gibt es nicht'],
  not_found_text: ['The address may be mistyped, or the page has moved.', 'Vielleicht ist die Adresse falsch geschrieben, oder die Seite ist umgezogen.'],
  to_devices: ['Go to your devices', 'Zu Ihren Geräten'],

  // Problems
  failed_offline: ['The service cannot be reached. Check your connection and try again.', 'Der Dienst ist nicht erreichbar. Prüfen Sie Ihre Verbindung und versuchen Sie es erneut.'],
  failed: ['That did not work. As far as we know nothing was changed. Please try again.', 'Das hat nicht geklappt. Soweit wir wissen, wurde nichts geändert. Bitte versuchen Sie es erneut.'],
  failed_load: ['This could not be loaded.', 'Das konnte nicht geladen werden.'],
  request: ['Request {id}', 'Anfrage {id}'],
  too_many: ['Too many attempts. Try again in {time}.', 'Zu viele Versuche. Bitte versuchen Sie es in {time} erneut.'],
  busy: ['The service is busy. Try again in {time}.', 'Der Dienst ist ausgelastet. Bitte versuchen Sie es in {time} erneut.'],
  required_email: ['Enter an e-mail address.', 'Geben Sie eine E-Mail-Adresse ein.'],
  invalid_email: ['This is not a complete e-mail address, such as ada@example.com.', 'Das ist keine vollständige E-Mail-Adresse, wie zum Beispiel ada@example.com.'],
  required_password: ['Enter a password.', 'Geben Sie ein Passwort ein.'],
  short_password: ['A password has at least 8 characters.', 'Ein Passwort hat mindestens 8 Zeichen.'],
  long_password: ['A password has at most 128 characters.', 'Ein Passwort hat höchstens 128 Zeichen.'],
  weak_password: ['This password is too easy to guess. Try three or four words that do not belong together.', 'Dieses Passwort ist zu leicht zu erraten. Nehmen Sie drei oder vier Wörter, die nicht zusammengehören.'],
  password_unchanged: ['This is your current password. Choose another one.', 'Das ist Ihr jetziges Passwort. Wählen Sie ein anderes.'],
  wrong_password: ['This is not your password.', 'Dieses Passwort ist nicht richtig.'],
  no_password: ['Your account has no password here, because you sign in with another service.', 'Ihr Konto hat hier kein Passwort, weil Sie sich über einen anderen Dienst anmelden.'],
  invalid_credentials: ['E-mail and password do not match.', 'E-Mail-Adresse und Passwort stimmen nicht überein.'],
  account_disabled: ['This account is disabled. Contact those who run this service.', 'Dieses Konto ist gesperrt. Wenden Sie sich an die Betreiber dieses Dienstes.'],
  email_not_verified: ['Confirm your e-mail address first: open the link that we have sent you.', 'Bestätigen Sie zuerst Ihre E-Mail-Adresse: Öffnen Sie den Link, den wir Ihnen geschickt haben.'],
  email_taken: ['There is already an account with this address.', 'Mit dieser Adresse gibt es schon ein Konto.'],
  invalid_link: ['This link has expired or was already used.', 'Dieser Link ist abgelaufen oder wurde schon benutzt.'],
  invalid_name: ['Choose a shorter name with at least one visible character, and without characters that change the direction of writing.', 'Wählen Sie einen kürzeren Namen mit mindestens einem sichtbaren Zeichen und ohne Zeichen, die die Schreibrichtung ändern.'],
  invalid_value: ['This value is not allowed.', 'Dieser Wert ist nicht erlaubt.'],
  registration_closed: ['New accounts cannot be created here.', 'Hier können keine neuen Konten angelegt werden.'],
  not_available: ['This service does not offer that.', 'Das bietet dieser Dienst nicht an.'],

  // Signing in
  sign_in: ['Sign in', 'Anmelden'],
  sign_in_to: ['Sign in to {name}', 'Bei {name} anmelden'],
  email: ['E-mail address', 'E-Mail-Adresse'],
  password: ['Password', 'Passwort'],
  show_password: ['Show password', 'Passwort anzeigen'],
  show: ['Show', 'Anzeigen'],
  hide: ['Hide', 'Verbergen'],
  forgot: ['Forgot your password?', 'Passwort vergessen?'],
  new_here: ['New here?', 'Neu hier?'],
  create: ['Create an account', 'Konto anlegen'],
  have_account: ['Already have an account?', 'Sie haben schon ein Konto?'],
  password_hint: ['At least 8 characters. Several words make a good password.', 'Mindestens 8 Zeichen. Mehrere Wörter ergeben ein gutes Passwort.'],
  ended_elsewhere: ['You are signed out here: this session has expired or was ended from another device.', 'Sie sind hier abgemeldet: Diese Sitzung ist abgelaufen oder wurde von einem anderen Gerät beendet.'],
  ended_reuse: ['You are signed out here for your safety: somebody may have copied the key of this session. If you notice anything unusual, change your password.', 'Sie wurden hier sicherheitshalber abgemeldet: Jemand hat vielleicht den Schlüssel dieser Sitzung kopiert. Wenn Ihnen etwas ungewöhnlich vorkommt, ändern Sie Ihr Passwort.'],
  ended_here: ['You are signed out.', 'Sie sind abgemeldet.'],
  ended_in_browser: ['You are signed out in this browser.', 'Sie sind in diesem Browser abgemeldet.'],
  other_user: ['Another account is signed in in this browser now.', 'In diesem Browser ist jetzt ein anderes Konto angemeldet.'],
  no_links: ['This service does not send mail. Contact those who run it.', 'Dieser Dienst verschickt keine E-Mails. Wenden Sie sich an die Betreiber.'],
  lost_link: ['You cannot find the link? We can send you one to choose a new password. It confirms your address too.', 'Sie finden den Link nicht? Wir können Ihnen einen schicken, mit dem Sie ein neues Passwort wählen. Er bestätigt auch Ihre Adresse.'],
  ended_everywhere: ['You are signed out on all devices.', 'Sie sind auf allen Geräten abgemeldet.'],
  deleted_done: ['Your account is deleted.', 'Ihr Konto ist gelöscht.'],
  registered: ['Your account is ready.', 'Ihr Konto ist angelegt.'],
  check_mail: ['Check your mail', 'Prüfen Sie Ihr Postfach'],
  check_mail_text: ['We have sent a link to {email}. Open it to confirm that the address is yours.', 'Wir haben einen Link an {email} geschickt. Öffnen Sie ihn, um zu bestätigen, dass die Adresse Ihnen gehört.'],
  forgot_title: ['Reset your password', 'Passwort zurücksetzen'],
  forgot_text: ['We will send you a link to choose a new password.', 'Wir schicken Ihnen einen Link, mit dem Sie ein neues Passwort wählen können.'],
  send_link: ['Send link', 'Link senden'],
  forgot_sent: ['If there is an account for {email}, a link is on its way. It is valid for a few minutes.', 'Falls es ein Konto für {email} gibt, ist ein Link unterwegs. Er gilt nur einige Minuten.'],
  back_to_sign_in: ['Back to sign-in', 'Zurück zur Anmeldung'],
  choose_password: ['Choose a new password', 'Neues Passwort wählen'],
  choose_password_for: ['For the account {email}.', 'Für das Konto {email}.'],
  choose_password_text: ['You will then be signed out on all devices. Sign in with the new password.', 'Danach sind Sie auf allen Geräten abgemeldet. Melden Sie sich mit dem neuen Passwort an.'],
  new_password: ['New password', 'Neues Passwort'],
  password_reset_done: ['Your password is changed, and you are signed out on all devices. Sign in with the new password.', 'Ihr Passwort ist geändert, und Sie sind auf allen Geräten abgemeldet. Melden Sie sich mit dem neuen Passwort an.'],
  confirm_email: ['Confirm your e-mail address', 'E-Mail-Adresse bestätigen'],
  confirm_email_of: ['You are about to confirm that {email} is your address and that your account at {name} uses it.', 'Sie bestätigen, dass {email} Ihre Adresse ist und dass Ihr Konto bei {name} sie verwendet.'],
  change_email_to: ['Your account at {name} will use the address {email}.', 'Ihr Konto bei {name} wird die Adresse {email} verwenden.'],
  change_email_press: ['Confirm only if you asked for this change yourself.', 'Bestätigen Sie nur, wenn Sie diese Änderung selbst angefordert haben.'],
  not_mine: ['I did not create this account', 'Ich habe dieses Konto nicht angelegt'],
  not_mine_title: ['You did not create this account?', 'Sie haben dieses Konto nicht angelegt?'],
  not_mine_text: ['Somebody else has used {email}, and knows the password of the account. Do not confirm the address.', 'Jemand anderes hat {email} angegeben und kennt das Passwort des Kontos. Bestätigen Sie die Adresse nicht.'],
  not_mine_reset: ['To take the account over, choose a new password: we send you a link. Everybody who is signed in to the account is then signed out.', 'Um das Konto zu übernehmen, wählen Sie ein neues Passwort: Wir schicken Ihnen einen Link. Wer in dem Konto angemeldet ist, wird dann abgemeldet.'],
  not_mine_nothing: ['If you do not want it, you can ignore the mail and close this page.', 'Wenn Sie es nicht wollen, können Sie die E-Mail ignorieren und diese Seite schließen.'],
  sign_in_for_link: ['Sign in and send the link again in the settings.', 'Melden Sie sich an und senden Sie den Link in den Einstellungen erneut.'],
  confirmed_already: ['Your address is already confirmed.', 'Ihre Adresse ist bereits bestätigt.'],
  to_settings: ['Go to the settings', 'Zu den Einstellungen'],
  confirm_email_text: ['Confirm only if you created this account yourself.', 'Bestätigen Sie nur, wenn Sie dieses Konto selbst angelegt haben.'],
  confirm: ['Confirm', 'Bestätigen'],
  email_confirmed: ['Your e-mail address is confirmed.', 'Ihre E-Mail-Adresse ist bestätigt.'],
  email_changed: ['Your new e-mail address is confirmed.', 'Ihre neue E-Mail-Adresse ist bestätigt.'],
  link_incomplete: ['This link is incomplete. Open it exactly as it is in the mail.', 'Dieser Link ist unvollständig. Öffnen Sie ihn genau so, wie er in der E-Mail steht.'],
  new_link: ['Request a new link', 'Neuen Link anfordern'],

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
  last_active: ['Last active {time}', 'Zuletzt aktiv {time}'],
  just_now: ['just now', 'gerade eben'],
  signed_in: ['Signed in {time}', 'Angemeldet {time}'],
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
  sign_out_text: ['Your password will be needed to sign in on it again. What is open there may stay visible.', 'Dort wird Ihr Passwort gebraucht, um sich wieder anzumelden. Was dort geöffnet ist, bleibt vielleicht sichtbar.'],
  sign_out_here_title: ['Sign out here?', 'Hier abmelden?'],
  sign_out_here_text: ['Your password will be needed to sign in again.', 'Um sich wieder anzumelden, brauchen Sie Ihr Passwort.'],
  signed_out: ['Signed out', 'Abgemeldet'],
  signed_out_of: ['{device} is signed out.', '{device} ist abgemeldet.'],
  already_out: ['{device} was already signed out.', '{device} war bereits abgemeldet.'],
  sign_out_others: ['Sign out the other device|Sign out {n} others', 'Das andere Gerät abmelden|{n} andere abmelden'],
  sign_out_others_title: ['Sign out the other device?|Sign out {n} other devices?', 'Das andere Gerät abmelden?|{n} andere Geräte abmelden?'],
  sign_out_others_text: ['You stay signed in here. On all other devices your password will be needed again.', 'Hier bleiben Sie angemeldet. Auf allen anderen Geräten wird Ihr Passwort wieder gebraucht.'],
  others_out: ['1 device is signed out.|{n} devices are signed out.', '1 Gerät ist abgemeldet.|{n} Geräte sind abgemeldet.'],
  sign_out_everywhere: ['Sign out everywhere', 'Überall abmelden'],
  sign_out_everywhere_title: ['Sign out everywhere, including here?', 'Überall abmelden, auch hier?'],
  sign_out_everywhere_text: ['Your password will be needed again on every device.', 'Auf jedem Gerät wird Ihr Passwort wieder gebraucht.'],
  not_you: ['You do not recognise a device? Sign it out and change your password.', 'Sie erkennen ein Gerät nicht? Melden Sie es ab und ändern Sie Ihr Passwort.'],
  change_password: ['Change password', 'Passwort ändern'],
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
  email_verified: ['Confirmed', 'Bestätigt'],
  email_unverified: ['Not confirmed', 'Nicht bestätigt'],
  resend: ['Send the link again', 'Link erneut senden'],
  link_sent: ['We have sent a link to {email}.', 'Wir haben einen Link an {email} geschickt.'],
  change_sent: ['We have sent a link to {email}. Open it to confirm the new address.', 'Wir haben einen Link an {email} geschickt. Öffnen Sie ihn, um die neue Adresse zu bestätigen.'],
  change_email: ['Change address', 'Adresse ändern'],
  change_email_text: ['We will send a link to the new address. Your address changes when you open that link and confirm.', 'Wir schicken einen Link an die neue Adresse. Ihre Adresse ändert sich, wenn Sie ihn öffnen und bestätigen.'],
  new_email: ['New e-mail address', 'Neue E-Mail-Adresse'],
  current_password: ['Current password', 'Jetziges Passwort'],
  password_text: ['When you change it, all your other devices are signed out.', 'Wenn Sie es ändern, werden alle Ihre anderen Geräte abgemeldet.'],
  password_changed: ['Your password is changed. All other devices are signed out.', 'Ihr Passwort ist geändert. Alle anderen Geräte sind abgemeldet.'],
  your_data: ['Your data', 'Ihre Daten'],
  export_text: ['Download everything that is stored about you as a file.', 'Laden Sie alles, was über Sie gespeichert ist, als Datei herunter.'],
  export: ['Download', 'Herunterladen'],
  exported: ['Your data is downloaded.', 'Ihre Daten sind heruntergeladen.'],
  delete_account: ['Delete account', 'Konto löschen'],
  delete_text: ['You are signed out on all devices, and everything that is stored about you is deleted. This cannot be undone.', 'Sie werden auf allen Geräten abgemeldet, und alles, was über Sie gespeichert ist, wird gelöscht. Das lässt sich nicht rückgängig machen.'],
  delete_title: ['Delete your account?', 'Ihr Konto löschen?'],
  delete_for_good: ['Delete permanently', 'Endgültig löschen'],

  without_email: ['User without an e-mail address', 'Person ohne E-Mail-Adresse'],

  // Activity
  activity_title: ['Your activity', 'Ihre Aktivität'],
  activity_text: ['What happened to your account. You do not recognise something? Change your password.', 'Was mit Ihrem Konto geschehen ist. Sie erkennen etwas nicht wieder? Ändern Sie Ihr Passwort.'],
  no_activity: ['Nothing has happened yet.', 'Bisher ist nichts geschehen.'],
  more: ['Show more', 'Mehr anzeigen'],
  today: ['Today', 'Heute'],
  yesterday: ['Yesterday', 'Gestern'],
  event_session_created: ['Signed in', 'Angemeldet'],
  event_session_ended: ['Signed out', 'Abgemeldet'],
  event_session_ended_of: ['{device} signed out', '{device} abgemeldet'],
  event_session_renamed: ['Device renamed', 'Gerät umbenannt'],
  event_session_renamed_of: ['{device} renamed', '{device} umbenannt'],
  event_session_moved: ['Device at another location', 'Gerät an einem anderen Ort'],
  event_sign_in_failed: ['Sign-in refused', 'Anmeldung abgelehnt'],
  event_sign_in_blocked: ['Sign-in blocked after too many attempts', 'Anmeldung nach zu vielen Versuchen gesperrt'],
  event_user_created: ['Account created', 'Konto angelegt'],
  event_user_email_verified: ['E-mail address confirmed', 'E-Mail-Adresse bestätigt'],
  event_user_email_changed: ['E-mail address changed', 'E-Mail-Adresse geändert'],
  event_user_password_changed: ['Password changed', 'Passwort geändert'],
  event_user_reauthenticated: ['Password confirmed', 'Passwort bestätigt'],
  event_user_disabled: ['Account disabled', 'Konto gesperrt'],
  event_user_enabled: ['Account enabled', 'Konto entsperrt'],
  event_user_deleted: ['Account deleted', 'Konto gelöscht'],
  event_password_reset_requested: ['Password reset link requested', 'Link zum Zurücksetzen des Passworts angefordert'],
  event_user_roles_changed: ['Role changed', 'Rolle geändert'],
  event_email_verification_requested: ['Link to confirm the e-mail address requested', 'Link zum Bestätigen der E-Mail-Adresse angefordert'],
  event_email_change_requested: ['Change of the e-mail address requested', 'Änderung der E-Mail-Adresse angefordert'],
  event_registration_repeated: ['Somebody tried to register with this address', 'Jemand wollte sich mit dieser Adresse registrieren'],
  event_other: ['Account changed', 'Konto geändert'],
  reason_invalid_credentials: ['because the password was wrong', 'weil das Passwort falsch war'],
  reason_email_not_verified: ['because the address is not confirmed; the password was right', 'weil die Adresse nicht bestätigt ist; das Passwort war richtig'],
  reason_logged_out: ['by signing out', 'durch Abmelden'],
  reason_revoked: ['from another device', 'von einem anderen Gerät'],
  reason_revoked_all: ['with all other devices', 'zusammen mit allen anderen Geräten'],
  reason_replaced: ['by a new sign-in on the same device', 'durch neue Anmeldung auf demselben Gerät'],
  reason_evicted: ['to make room for a new device', 'um Platz für ein neues Gerät zu machen'],
  reason_expired: ['because the session expired', 'weil die Sitzung abgelaufen ist'],
  reason_token_reuse: ['for safety: the key of the session may have been copied', 'sicherheitshalber: der Schlüssel der Sitzung wurde vielleicht kopiert'],
  reason_password_changed: ['because the password was changed', 'weil das Passwort geändert wurde'],
  reason_password_reset: ['because the password was reset', 'weil das Passwort zurückgesetzt wurde'],
  reason_account_disabled: ['because the account was disabled', 'weil das Konto gesperrt wurde'],
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
