// The search in a terminal and its history.

import { useEffect, useRef, useState } from "preact/hooks";
import type { ScreenSearch } from "./search";

const NOTES = { idle: "", searching: "Searching…", found: "", missing: "No further match" };

export function SearchBox({ search, close }: { search: ScreenSearch; close: () => void }) {
  const input = useRef<HTMLInputElement>(null);
  const [text, setText] = useState("");
  useEffect(() => input.current?.focus(), []);
  useEffect(() => () => search.clear(), [search]);

  const handleKey = (event: KeyboardEvent) => {
    if (event.key === "Escape") close();
    else if (event.key === "Enter" && event.shiftKey) search.findNewer(text);
    else if (event.key === "Enter") void search.findOlder(text);
    else return;

    event.preventDefault();
  };

  return (
    <search class="search-box">
      <input
        ref={input}
        type="search"
        aria-label="Search"
        placeholder="Search"
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={handleKey}
      />
      <span class="note" role="status">
        {NOTES[search.state.value]}
      </span>
      <button type="button" class="quiet" onClick={() => void search.findOlder(text)}>
        Older
      </button>
      <button type="button" class="quiet" onClick={() => search.findNewer(text)}>
        Newer
      </button>
      <button type="button" class="quiet" aria-label="Close the search" onClick={close}>
        ✕
      </button>
    </search>
  );
}
