// Other terminal engines, as the suite scores them.

import { fileURLToPath } from 'node:url';
import serialize from '@xterm/addon-serialize';
import { Engine } from './engine.mjs';
import { Viewer } from './state.mjs';

const MANIFEST = fileURLToPath(new URL('../engines/Cargo.toml', import.meta.url));
const TARGET = fileURLToPath(new URL('../../../target', import.meta.url));

/** Returns the engines in Rust and the serializer of xterm.js. */
export function others() {
  const cargo = (name) => `cargo run --quiet --release --manifest-path ${MANIFEST} --target-dir ${TARGET} --bin engines -- ${name}`;
  return [...['shpool-vterm', 'avt', 'vt100'].map((name) => new Engine(name, cargo(name))), new AddonSerialize()];
}

/** xterm.js itself, written by its addon. */
class AddonSerialize {
  name = 'addon-serialize';

  async snapshots({ cols, rows, steps, history }) {
    const viewer = new Viewer({ cols, rows });
    const addon = new serialize.SerializeAddon();
    viewer.terminal.loadAddon(addon);
    const snapshots = [];
    for (const step of steps) {
      if (step !== null) await viewer.play([step]);
      else snapshots.push(Buffer.from(addon.serialize({ scrollback: history })));
    }
    return snapshots;
  }

  close() {}
}
