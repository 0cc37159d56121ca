// The terminal's colours, matching the page in dark and light.

import { signal } from "@preact/signals";
import type { ITheme } from "@xterm/xterm";

const DARK: ITheme = {
  background: "#14171c",
  foreground: "#d4d7dc",
  cursor: "#7cc7ae",
  cursorAccent: "#14171c",
  selectionBackground: "#3a4a58aa",
  black: "#2b3038",
  red: "#e0787a",
  green: "#8cbf88",
  yellow: "#d9b36c",
  blue: "#7fa8dc",
  magenta: "#b994d4",
  cyan: "#74bcc4",
  white: "#c4c8ce",
  brightBlack: "#6e7681",
  brightRed: "#ee9596",
  brightGreen: "#a6d4a1",
  brightYellow: "#ebcb8d",
  brightBlue: "#9fc1ec",
  brightMagenta: "#cfb0e6",
  brightCyan: "#95d2d8",
  brightWhite: "#f0f2f4",
};

const LIGHT: ITheme = {
  background: "#fcfbf9",
  foreground: "#2a2d33",
  cursor: "#2b7562",
  cursorAccent: "#fcfbf9",
  selectionBackground: "#b9d4cbaa",
  black: "#2a2d33",
  red: "#b3373c",
  green: "#3d7a36",
  yellow: "#8a6412",
  blue: "#2f62a8",
  magenta: "#7f4a9e",
  cyan: "#23747e",
  white: "#8d9199",
  brightBlack: "#6a6f78",
  brightRed: "#c7494d",
  brightGreen: "#4c8b44",
  brightYellow: "#9d741d",
  brightBlue: "#4377bd",
  brightMagenta: "#935eb2",
  brightCyan: "#348692",
  brightWhite: "#b4b8be",
};

const prefersDark = matchMedia("(prefers-color-scheme: dark)");

export const terminalTheme = signal(prefersDark.matches ? DARK : LIGHT);

prefersDark.addEventListener("change", () => {
  terminalTheme.value = prefersDark.matches ? DARK : LIGHT;
});
