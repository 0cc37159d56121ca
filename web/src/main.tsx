// The entry point of the pages.

import "@xterm/xterm/css/xterm.css";
import "./style/base.css";
import "./style/frame.css";
import "./style/terminal.css";
import "./style/overlays.css";
import "./style/devices.css";
import "./style/login.css";
import "./style/narrow.css";
import { render } from "preact";
import { App } from "./app";

render(<App />, document.getElementById("app") as HTMLElement);
