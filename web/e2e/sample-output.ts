// Sample output of a shell, with colours, links and boxes.

export const SAMPLE_OUTPUT = [
  "\x1b[1;32mada@harbour\x1b[0m:\x1b[1;34m~/tides\x1b[0m$ git log --oneline --graph -6\r\n",
  "* \x1b[33m4be21f0\x1b[m\x1b[33m (\x1b[1;36mHEAD\x1b[m\x1b[33m -> \x1b[1;32mmain\x1b[m\x1b[33m)\x1b[m Round heights to centimetres\r\n",
  "* \x1b[33m9c0d7a2\x1b[m Read stations from a file\r\n",
  "*   \x1b[33m07fe3b8\x1b[m Merge the harmonic tables\r\n",
  "\x1b[31m|\x1b[m\x1b[32m\\\x1b[m\r\n",
  "\x1b[31m|\x1b[m * \x1b[33mb3314cd\x1b[m Add the lunar constituents\r\n",
  "* \x1b[32m|\x1b[m \x1b[33m52ae910\x1b[m Print times in UTC\r\n",
  "\x1b[1;32mada@harbour\x1b[0m:\x1b[1;34m~/tides\x1b[0m$ make test\r\n",
  "\x1b[1mrunning 14 tests\x1b[0m  ",
  ...[
    "\x1b[31m■",
    "\x1b[33m■",
    "\x1b[32m■",
    "\x1b[36m■",
    "\x1b[34m■",
    "\x1b[35m■",
    "\x1b[90m■",
    "\x1b[37m■",
  ],
  "\x1b[0m\r\ntest \x1b[36mspring_tide\x1b[0m ... \x1b[32mok\x1b[0m\r\n",
  "test \x1b[36mneap_tide\x1b[0m ... \x1b[31mFAILED\x1b[0m  ─┤ é ✓ ├─  https://example.org/tides\r\n",
  "┌──────────┬───────┐\r\n│ station  │ level │\r\n├──────────┼───────┤\r\n│ harbour  │ 2.31  │\r\n└──────────┴───────┘\r\n",
  "\x1b[1;32mada@harbour\x1b[0m:\x1b[1;34m~/tides\x1b[0m$ ",
].join("");
