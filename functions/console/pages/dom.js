// Builds elements. Text goes in as text alone, so nothing that a person has entered can become markup.

import { Live, absolute, ago, say } from './words.js'

/** @typedef {import('./words.js').Phrase} Phrase */
/** @typedef {Node | Phrase | number | null | undefined | false} Child */
/** @typedef {Record<string, any>} Properties */

/**
 * An element: `make('button.primary', { onclick, 'aria-label': 'Close' }, 'Close')`. What begins with `on` is listened to,
 * what is false or missing is left out, everything else is an attribute.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K | `${K}.${string}`} kind @param {Properties} [properties] @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(kind, properties = {}, ...children) {
  const [name = '', ...classes] = kind.split('.')
  const element = /** @type {HTMLElementTagNameMap[K]} */ (document.createElement(name))
  if (classes.length) element.className = classes.join(' ')
  for (const [key, value] of Object.entries(properties)) {
    if (value === false || value === null || value === undefined) continue
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value)
    else keep(element, value, (text) => element.setAttribute(key, value === true ? '' : text))
  }
  return fill(element, ...children)
}

/** What writes the texts of a node. @type {WeakMap<Node, Array<() => void>>} */
const writers = new WeakMap()

/** Writes a text, and writes it again in another language. @param {Node} node @param {unknown} text @param {(text: string) => void} write */
function keep(node, text, write) {
  write(String(text))
  if (text instanceof Live) writers.set(node, [...(writers.get(node) ?? []), () => write(String(text))])
}

/**
 * Writes what an element shows in the language that is chosen now. Nothing is drawn again, so what somebody has typed, opened
 * or focused stays. @param {Element} root
 */
export function rewrite(root) {
  const walker = document.createTreeWalker(root)
  const nodes = [walker.currentNode]
  while (walker.nextNode()) nodes.push(walker.currentNode)
  for (const node of nodes) writers.get(node)?.forEach((write) => write())
  tick()
}

/** Puts these in the place of what an element has. @template {Element} E @param {E} element @param {...(Child | Child[])} children */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter(isShown).map(nodeOf))
  return element
}

/** @param {Child} child */
const isShown = (child) => child !== null && child !== undefined && child !== false && child !== ''

/** @param {Child} child */
function nodeOf(child) {
  if (child instanceof Node) return child
  const node = new Text()
  keep(node, child, (text) => (node.data = text))
  return node
}

/** Text of a person or a client, which keeps its own direction. @param {Phrase | null} text */
export const own = (text) => make('bdi', {}, text)

/** A sentence with elements in the places of `{name}`. @param {Phrase} text @param {Record<string, Node>} parts */
export function sentence(text, parts) {
  const element = make('span')
  keep(element, text, (text) => element.replaceChildren(...text.split(/(\{\w+\})/).map((part) => parts[part.slice(1, -1)] ?? part)))
  return element
}

/**
 * "3 minutes ago", which stays true while it is shown.
 * @param {string | Date} when @param {(time: Phrase, seconds: number) => Phrase} [as] says it, with the seconds since
 */
export function time(when, as = (text) => text) {
  const date = new Date(when)
  const element = make('time', { datetime: date.toISOString(), title: absolute(date) })
  const write = () => {
    const text = String(as(ago(date), (Date.now() - date.getTime()) / 1000))
    if (element.textContent !== text) element.textContent = text
  }
  write()
  clocks.set(element, write)
  return element
}

/** @type {Map<HTMLElement, () => void>} */
const clocks = new Map()
function tick() {
  for (const [element, write] of clocks) {
    if (element.isConnected) write()
    else clocks.delete(element)
  }
}
setInterval(tick, 20_000)
// A page that nobody saw was not allowed to count.
document.addEventListener('visibilitychange', tick)
addEventListener('pageshow', tick)

let lastId = 0
/** @param {string} what */
export const newId = (what) => `${what}-${++lastId}`

const SVG = 'http://www.w3.org/2000/svg'

/** The outlines of the icons, on a grid of 24. */
const ICONS = {
  desktop: 'M4 5h16v10H4zM2 19h20M9 15v4M15 15v4',
  mobile: 'M8 3h8a1 1 0 0 1 1 1v16a1 1 0 0 1-1 1H8a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1zM11 18h2',
  tablet: 'M6 3h12a1 1 0 0 1 1 1v16a1 1 0 0 1-1 1H6a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1zM11 18h2',
  tv: 'M3 6h18v11H3zM8 21h8M9 2l3 4 3-4',
  bot: 'M5 9h14v10H5zM12 9V5M9 13v2M15 13v2M2 13v3M22 13v3',
  unknown: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM9.5 9.5a2.5 2.5 0 1 1 3.5 2.3c-.7.3-1 .8-1 1.7M12 16.5v.5',
  pencil: 'M4 20l1-4L16 5l3 3L8 19zM14 7l3 3',
  check: 'M5 13l4 4L19 7',
  warning: 'M12 4L2.5 20h19zM12 10v4M12 17v.5',
  info: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 11v5M12 7.5v.5',
  key: 'M8 12a4 4 0 1 0 0 .01M12 12h9M18 12v3',
  mail: 'M3 6h18v12H3zM3 7l9 6 9-6',
  user: 'M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM4 21c0-4 3.500-6 8-6s8 2 8 6',
  out: 'M14 4H5v16h9M10 12h11M18 8.500l3.500 3.500-3.500 3.500',
  in: 'M10 4h9v16h-9M3 12h11M10.500 8.500L14 12l-3.500 3.500',
}

/** @typedef {keyof typeof ICONS} Icon */

/** A picture that says nothing that is not said beside it. @param {Icon} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg')
  svg.setAttribute('viewBox', '0 0 24 24')
  svg.setAttribute('aria-hidden', 'true')
  const path = document.createElementNS(SVG, 'path')
  path.setAttribute('d', ICONS[name])
  svg.append(path)
  return svg
}

/** The icon of a kind of device, which may be one that is newer than this page. @param {string} type */
export const deviceIcon = (type) => icon(type in ICONS ? /** @type {Icon} */ (type) : 'unknown')

/** Bars in the place of what is being loaded. @param {number} count */
export function skeleton(count) {
  const row = () => make('li.row', {}, make('span.icon'), make('span.bars', {}, make('span.bar'), make('span.bar')))
  const rows = Array.from({ length: count }, row)
  return make('div', {}, make('p.unseen', { role: 'status' }, say('loading')), make('ul.rows.skeleton', { 'aria-hidden': 'true' }, rows))
}
