// Draws one run. Python decides what is shown; this puts it into the page and reports what a person does.
//
// render: anywidget's entry, with a kernel behind it. attach: the same picture in a saved notebook, without one.
// Everything from the kernel comes as custom messages {kind: "frame" | "details" | "notice"}; actions go back the same way.

const make = (tag, name, text = "") => Object.assign(document.createElement(tag), { className: name, textContent: text });

// A place for the picture and, below it, one for the details of the row that was chosen.
function stage(root, ask, chosen = null) {
  const picture = make("div", "perdure-picture");
  const panel = make("div", "perdure-details");
  panel.hidden = true;
  panel.setAttribute("role", "region");
  panel.setAttribute("aria-label", "Details");
  root.replaceChildren(picture, panel);

  const find = (id) => picture.querySelector(`[data-event="${CSS.escape(id)}"]`);
  const mark = () => {
    for (const row of picture.querySelectorAll("[data-event]")) {
      row.setAttribute("aria-expanded", String(row.dataset.event === chosen));
    }
  };
  const choose = (id) => {
    chosen = id === chosen ? null : id;
    panel.hidden = true;
    mark();
    if (chosen !== null) ask(chosen);
  };
  picture.addEventListener("click", (event) => {
    const row = event.target.closest("[data-event]");
    if (row) choose(row.dataset.event);
  });
  root.addEventListener("keydown", (event) => {
    const row = event.target.closest?.("[data-event]");
    if (event.key === "Escape" && chosen !== null) {
      find(chosen)?.focus();
      choose(chosen);
    } else if (row && (event.key === "Enter" || event.key === " ")) {
      choose(row.dataset.event);
    } else if (row && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      const rows = [...picture.querySelectorAll("[data-event]")];
      rows[rows.indexOf(row) + (event.key === "ArrowDown" ? 1 : -1)]?.focus();
    } else return;
    // Jupyter would take these keys for itself: run the cell, move to the next one.
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    chosen: () => chosen,
    draw(html) {
      const focused = picture.contains(document.activeElement) ? document.activeElement.dataset.event : undefined;
      const unfolded = picture.querySelector("details")?.open;
      picture.innerHTML = html; // from perdure.view, which escapes whatever users and failures bring in
      if (unfolded) picture.querySelector("details")?.setAttribute("open", "");
      mark();
      if (focused !== undefined) find(focused)?.focus({ preventScroll: true });
      if (chosen !== null) ask(chosen); // what is open there may have changed
    },
    tell(id, html) {
      if (id !== chosen) return; // the answer to a question that is no longer asked
      panel.innerHTML = html;
      panel.hidden = html === "";
    },
  };
}

// When a run closes, the static picture takes the widget's place at once. What was open there stays open: by run id, the row and when.
const left = (globalThis.perdureLeft ??= new Map());

// --- without a kernel

export function attach(root, details) {
  const image = root?.querySelector("img.perdure-image");
  if (!image) return;
  image.outerHTML = decodeURIComponent(image.getAttribute("src").replace(/^[^,]*,/, ""));
  const html = root.innerHTML;
  const before = left.get(root.dataset.run);
  const chosen = before && Date.now() - before.at < 3000 ? before.chosen : null;
  const view = stage(root, (id) => view.tell(id, details[id] ?? ""), chosen);
  view.draw(html);
}

// --- with a kernel

const PATIENCE = 10; // seconds without an answer after which the picture says how old it is

function render({ model, el }) {
  const root = make("div", "perdure-run");
  const main = make("div", "");
  const bar = make("div", "perdure-bar");
  const clock = make("span", "perdure-clock");
  const notice = make("span", "perdure-notice");
  notice.setAttribute("role", "status");
  root.append(main, bar);
  el.append(root);

  const view = stage(main, (id) => model.send({ kind: "details", row: Number(id) }));
  const button = (text, title, press) => {
    const made = make("button", "perdure-button", text);
    made.type = "button";
    made.title = title;
    made.addEventListener("click", press);
    return made;
  };
  const act = (kind) => () => {
    notice.textContent = "";
    model.send({ kind });
  };
  const refresh = button("Refresh", "Draw it again as it is now", act("refresh"));
  const cancel = button("Cancel", "Ask the run to stop; its code may clean up first", act("cancel"));
  const terminate = button("Terminate…", "End the run at once; its code is not asked", () => confirm(true));
  const really = button("Terminate now", "", () => {
    confirm(false);
    act("terminate")();
  });
  really.classList.add("perdure-danger");
  const keep = button("Keep running", "", () => confirm(false));
  const question = make("span", "perdure-question", "Its code gets no chance to clean up.");
  function confirm(asking) {
    bar.replaceChildren(...(asking ? [question, really, keep] : [clock, notice, refresh, cancel, terminate]));
    if (asking) keep.focus();
  }
  confirm(false);

  let next = null; // {words, at}: what happens next by the clock
  let ahead = 0; // how far the kernel's clock is ahead of this one, ms
  const tick = () => {
    const left = next ? Math.max(0, Math.round((next.at - ahead - Date.now()) / 1000)) : 0;
    clock.textContent = next ? `${next.words} in ${span(left)}` : "";
  };
  let drawn = 0; // when the last frame came
  let asked = 0; // when another one was asked for, since then
  let pace = 1; // for how many seconds a frame is good
  const timer = setInterval(() => {
    tick();
    const now = Date.now();
    if (bar.hidden || document.hidden || !root.checkVisibility() || now - Math.max(drawn, asked) < 1000 * pace) return;
    // The kernel is busy and cannot answer, or it is gone: an old picture must not look like a new one.
    if (asked > drawn && now - drawn > 1000 * (pace + PATIENCE)) {
      notice.textContent = `No news from the kernel since ${new Date(drawn).toLocaleTimeString()}.`;
    }
    asked = now;
    model.send({ kind: "tick" });
  }, 250);

  const show = (frame) => {
    view.draw(frame.picture);
    if (asked > drawn && notice.textContent.startsWith("No news")) notice.textContent = "";
    drawn = Date.now();
    pace = frame.pace;
    next = frame.next;
    ahead = frame.now - Date.now();
    bar.hidden = !frame.open;
    if (!frame.open) left.set(frame.run, { chosen: view.chosen(), at: Date.now() });
    tick();
  };
  const receive = (message) => {
    if (message.kind === "frame") show(message);
    else if (message.kind === "details") view.tell(String(message.row), message.html);
    else if (message.kind === "notice") notice.textContent = message.text;
  };
  model.on("msg:custom", receive);
  show(model.get("frame"));
  model.send({ kind: "shown" });
  return () => {
    clearInterval(timer);
    model.off("msg:custom", receive);
    model.send({ kind: "hidden" });
  };
}

function span(seconds) {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

export default { render };
