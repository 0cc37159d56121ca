// Answers the queries in output, for `engines/src/bin/answers.rs`.

import xterm from '@xterm/headless';

const windowOptions = Object.fromEntries(
  ['getCellSizePixels', 'getIconTitle', 'getScreenSizeChars', 'getScreenSizePixels', 'getWinPosition', 'getWinSizeChars', 'getWinSizePixels', 'getWinState', 'getWinTitle', 'popTitle', 'pushTitle'].map((name) => [name, true]),
);
const terminal = new xterm.Terminal({ cols: 80, rows: 25, windowOptions, allowProposedApi: true, logLevel: 'off' });
let answers = '';
terminal.onData((data) => (answers += data));
terminal.parser.registerCsiHandler({ intermediates: '*', final: 'y' }, ([id, , top, left]) => {
  const { active } = terminal.buffer;
  const chars = active.getLine(active.baseY + top - 1)?.getCell(left - 1)?.getChars() || ' ';
  const sum = (0x10000 - chars.codePointAt(0)) & 0xffff;
  answers += `\x1bP${id}!~${sum.toString(16).toUpperCase().padStart(4, '0')}\x1b\\`;
  return true;
});

let received = Buffer.alloc(0);
for await (const chunk of process.stdin) {
  received = Buffer.concat([received, chunk]);
  while (received.length >= 4 && received.length >= 4 + received.readUInt32BE()) {
    const end = 4 + received.readUInt32BE();
    await new Promise((resolve) => terminal.write(received.subarray(4, end), resolve));
    received = received.subarray(end);
    const data = Buffer.from(answers, 'latin1');
    answers = '';
    const length = Buffer.alloc(4);
    length.writeUInt32BE(data.length);
    process.stdout.write(Buffer.concat([length, data]));
  }
}
