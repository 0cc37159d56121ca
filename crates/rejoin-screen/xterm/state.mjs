// The complete state of an xterm.js terminal as plain data, for comparison.

import { readFileSync } from 'node:fs';
import xterm from '@xterm/headless';
import { EngineWidths } from './unicode.mjs';

const widths = new EngineWidths(JSON.parse(readFileSync(new URL('widths.json', import.meta.url), 'utf8')));

const COLOUR = 0x3ffffff; // mode and value, without the attribute flags
const RGB = 0x3000000;
const HAS_EXTENDED = 0x10000000; // in the background word
const UNDERLINE = 0x10000000; // in the foreground word
/** An empty cell in the text of a line. */
export const EMPTY = '·';
const SEEN_ON_BLANK = [0x04000000 | 0x80000000 | UNDERLINE, 0x40000000]; // inverse, struck, underlined; overlined

/** A terminal that records its title and palette, which the core does not keep. */
export class Viewer {
  constructor({ cols, rows, scrollback = 1000 }) {
    const windowOptions = { pushTitle: true, popTitle: true };
    this.terminal = new xterm.Terminal({ cols, rows, scrollback, windowOptions, allowProposedApi: true, logLevel: 'off' });
    this.terminal.unicode.register(widths);
    this.terminal.unicode.activeVersion = widths.version;
    this.title = '';
    this.palette = {};
    this.answers = '';
    this.terminal.onTitleChange((title) => (this.title = title));
    this.terminal.onData((data) => (this.answers += data));
    this.#keepLinks();
    this.core._inputHandler.onColor((events) => events.forEach((event) => this.#colour(event)));
  }

  get core() {
    return this.terminal._core;
  }

  write(bytes) {
    return new Promise((resolve) => this.terminal.write(bytes, resolve));
  }

  /** Writes output and sets new sizes, in order. */
  async play(steps) {
    for (const step of steps) {
      if (Array.isArray(step)) this.terminal.resize(...step);
      else await this.write(step);
    }
  }

  // The core drops a link with the line on which it began, even if the link is still open.
  #keepLinks() {
    const service = this.core._oscLinkService;
    const register = service.registerLink.bind(service);
    const known = new Map();
    service.registerLink = (data) => {
      const id = register(data);
      known.set(id, data);
      return id;
    };
    service.getLinkData = (id) => known.get(id);
  }

  // Report = 0, set = 1, restore = 2.
  #colour({ type, index, color }) {
    if (type === 1) this.palette[index] = color.join(',');
    else if (type === 2 && index === undefined) for (let i = 0; i < 256; i++) delete this.palette[i];
    else if (type === 2) delete this.palette[index];
  }
}

/** Returns everything that affects the display or the answers, now or after further output. */
export function state(viewer, historyLines) {
  const core = viewer.core;
  const input = core._inputHandler;
  const { buffers } = core._bufferService;
  const altActive = buffers.active === buffers.alt;
  return {
    size: [core.cols, core.rows],
    altActive,
    normal: buffer(core, buffers.normal, historyLines, !altActive),
    alt: buffer(core, buffers.alt, 0, altActive),
    pen: pen(core, input._curAttrData),
    charsets: charsets(core._charsetService),
    modes: { ...core.coreService.modes, ...core.coreService.decPrivateModes },
    cursorHidden: core.coreService.isCursorHidden,
    cursorBlink: core.optionsService.rawOptions.cursorBlink,
    lineFeedMode: core.optionsService.rawOptions.convertEol,
    mouse: [core.coreMouseService.activeProtocol, core.coreMouseService.activeEncoding],
    title: viewer.title,
    palette: Object.fromEntries(Object.entries(viewer.palette).sort()),
    parser: parser(input),
  };
}

function buffer(core, b, historyLines, active) {
  const first = Math.max(0, b.ybase - historyLines);
  const lines = [];
  for (let i = first; i < b.lines.length; i++) lines.push(line(core, b.lines.get(i)));
  // The oldest compared line has nothing to continue.
  if (lines.length > core.rows) lines[0] = lines[0].replace(/^~/, ' ');
  return {
    // A combining character without a base at the margin moves the cursor of xterm.js beyond it.
    cursor: active ? [Math.min(b.x, core.cols), b.y] : undefined,
    saved: [Math.min(b.savedX, core.cols - 1), Math.min(core.rows - 1, Math.max(0, b.savedY - b.ybase)), colours(b.savedCurAttrData), charset(b.savedCharset)],
    region: [b.scrollTop, b.scrollBottom],
    tabs: Object.keys(b.tabs).filter((column) => b.tabs[column]).map(Number).filter((column) => column < core.cols).join(),
    history: Math.max(0, lines.length - core.rows),
    lines,
  };
}

// Returns a line as text: `~` if it continues the one above, then the cells in runs of equal attributes; `·` is an empty cell.
function line(core, l) {
  const cell = (core.comparedCell ??= new core._inputHandler._activeBuffer._nullCell.constructor());
  const width = Math.min(l.length, core.cols);
  const end = Math.min(width, usedLength(l));
  let text = l.isWrapped ? '~' : ' ';
  let last = '{0 0}';
  for (let x = 0; x < end; x++) {
    const { chars, width: columns, attributes } = shown(core, l.loadCell(x, cell), widthAt(l, x - 1), x + 1 < core.cols ? widthAt(l, x + 1) : 1);
    if (`{${attributes}}` !== last) text += last = `{${attributes}}`;
    text += chars === '' ? (columns === 1 ? EMPTY : '') : columns === 1 ? chars : `<${chars}:${columns}>`;
  }
  if (end < width && last !== '{0 0}') text += `{0 0}${EMPTY}`;
  return text.replace(/·+$/, '').replace(/\{0 0\}$/, '');
}

// Returns the number of cells up to the last one that has a character or attributes.
function usedLength(l) {
  let x = l.length;
  while (x > 0 && !l.hasContent(x - 1) && l.getWidth(x - 1) === 1 && l.getFg(x - 1) === 0 && l.getBg(x - 1) === 0) x -= 1;
  return x;
}

// Returns the visible effect of a cell. Of an empty cell without inverse or lines only the background
// counts. Half of a wide character, which xterm.js sometimes leaves or cuts at the margin, is equal to an empty cell.
function shown(core, cell, widthBefore, widthAfter) {
  const half = (cell.getWidth() === 2 && widthAfter !== 0) || (cell.getWidth() === 0 && cell.getChars() === '' && widthBefore !== 2);
  const [chars, width] = half ? ['', 1] : [cell.getChars(), cell.getWidth()];
  if (chars !== '' || width !== 1) return { chars, width, attributes: pen(core, cell) };
  if (cell.fg & SEEN_ON_BLANK[0] || cell.bg & SEEN_ON_BLANK[1]) return { chars, width, attributes: pen(core, cell) };
  return { chars, width, attributes: colours({ fg: 0, bg: cell.bg & COLOUR }) };
}

function widthAt(l, x) {
  return x >= 0 && x < l.length ? l.getWidth(x) : 1;
}

function pen(core, attributes) {
  const parts = [colours(attributes)];
  const underlined = attributes.fg & UNDERLINE;
  const ext = attributes.bg & HAS_EXTENDED ? attributes.extended : undefined;
  // Some functions leave the style 0, which is drawn as a single line.
  if (underlined) parts.push(`u${(ext && (ext._ext >> 26) & 7) || 1}`);
  const colour = ext?.underlineColor ?? 0;
  if (underlined && colour !== COLOUR && colour & RGB) parts.push(`uc${value(colour)}`);
  if (ext?.urlId) parts.push(`link ${JSON.stringify(core._oscLinkService.getLinkData(ext.urlId))}`);
  return parts.join(' ');
}

function colours({ fg, bg }) {
  const flags = (word) => (word & ~COLOUR) >>> 26;
  return `${flags(fg)}:${value(fg)} ${flags(bg & ~HAS_EXTENDED)}:${value(bg)}`.replaceAll('0:', '');
}

// Only RGB uses more than eight bits; in the other modes the upper bits may be left over.
function value(word) {
  return (word & ((word & RGB) === RGB ? COLOUR : RGB | 0xff)).toString(16);
}

function charsets(service) {
  return [service.glevel, ...[service.charset, ...[0, 1, 2, 3].map((g) => service._charsets[g])].map(charset)];
}

function charset(set) {
  return set === undefined ? 'B' : Object.entries(set).flat().join('');
}

function parser(input) {
  const p = input._parser;
  const inOsc = p.currentState === 8;
  // Sequences in these states (6, 7, 11) are ignored up to their end, so their content does not matter.
  const inSequence = ![0, 6, 7, 11].includes(p.currentState);
  return {
    state: p.currentState,
    params: inSequence && !inOsc ? JSON.stringify(p._params.toArray()) : '',
    collect: inSequence && !inOsc ? p._collect : 0,
    osc: inOsc ? [p._oscParser._id, (p._oscParser._active[0] ?? {})._data] : [],
    // The width of the character that the next one may combine with; the other bits have no effect.
    join: joins(input._activeBuffer, p.precedingJoinState >> 1) ? p.precedingJoinState >> 1 : 0,
    partial: [...input._utf8Decoder.interim],
  };
}

// Returns false for a wide character that did not fit: it was not printed, so nothing can combine with it.
function joins(b, width) {
  const l = b.lines.get(b.ybase + b.y);
  return b.x >= width && l.getWidth(b.x - width) === width && l.hasContent(b.x - width);
}

/** Returns the paths at which two states differ, at most `limit`. */
export function differences(a, b, limit = 6, path = '') {
  if (a === b) return [];
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) {
    return [`${path}: ${JSON.stringify(a)} became ${JSON.stringify(b)}`];
  }
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  const found = [];
  for (const key of keys) {
    found.push(...differences(a[key], b[key], limit, `${path}/${key}`));
    if (found.length >= limit) break;
  }
  return found.slice(0, limit);
}
