// SPDX-License-Identifier: Apache-2.0
// What a person can do with rows: review, settle, clear, run again, download. Each change is shown before it is made.
"use strict";

(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const page = window.goenhance;
  const bar = $("#toolbar");
  const dialog = $("#confirm");
  if (!page || !bar || !dialog) return;
  const dag = bar.dataset.dag;
  const run = bar.dataset.run;
  const may = new Set(bar.dataset.rights.split(" "));

  // -- requests -------------------------------------------------------------------------------------------------

  async function call(address, method, body) {
    const answer = await fetch(address, {
      method,
      headers: { Accept: "application/json", ...(body ? { "Content-Type": "application/json" } : {}) },
      body: body && JSON.stringify(body),
    });
    const read = await answer.json().catch(() => ({}));
    if (answer.ok) return read;
    const detail = typeof read.detail === "string" ? read.detail : "The server refused the request.";
    throw new Error(answer.status === 403 && !read.detail ? "You may not do this." : detail);
  }

  const ours = (name, query = {}) => `actions/${name}?${new URLSearchParams({ dag_id: dag, ...query })}`;
  // Beside the page, wherever Airflow is mounted.
  const airflow = (path) => new URL(`../api/v2/${path}`, location.href).href;

  // -- the dialog --------------------------------------------------------------------------------------------------

  let confirmed = null;

  function paragraphs(lines) {
    return lines.map((line) => Object.assign(document.createElement("p"), { textContent: line }));
  }

  function ask(title, nodes, label, work) {
    $("h2", dialog).textContent = title;
    $("[data-body]", dialog).replaceChildren(...nodes);
    $("[data-error]", dialog).textContent = "";
    const yes = $("[data-yes]", dialog);
    yes.textContent = label || "";
    yes.hidden = !work;
    $("[data-no]", dialog).textContent = work ? "Cancel" : "Close";
    yes.disabled = false;
    confirmed = work;
    if (!dialog.open) dialog.showModal();
  }

  const tell = (title, lines) => ask(title, paragraphs(lines), "", null);

  $("form", dialog).addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!confirmed) return;
    const yes = $("[data-yes]", dialog);
    yes.disabled = true;
    try {
      const work = confirmed;
      const done = await work();
      if (done) page.say(done);
      if (confirmed === work) dialog.close();
      const shown = page.shown;
      await page.refresh();
      // The larger view behind the dialog shows the row as it is now.
      if (shown && page.shown === shown) page.show(shown);
    } catch (error) {
      $("[data-error]", dialog).textContent = error.message;
      yes.disabled = false;
      // What was refused was about something that the page does not show yet.
      page.refresh();
    }
  });
  $("[data-no]", dialog).addEventListener("click", () => dialog.close());

  async function guarded(title, work) {
    try {
      await work();
    } catch (error) {
      tell(title, [error.message]);
    }
  }

  // -- what fits the rows --------------------------------------------------------------------------------------------

  // What the person looks at: the row in the larger view, which may be newer than the one in the list.
  const inViewer = () => ($("#viewer")?.open ? $("#viewer .detail") : null);
  const inList = (id) => $(`#rows [data-row="${CSS.escape(id)}"]`);
  const rowOf = (id) => (inViewer()?.dataset.row === id ? inViewer() : inList(id));
  // The rows of a request, each with its version as it was seen.
  const versions = (ids) => Object.fromEntries(ids.map((id) => [id, versionOf(id)]));
  const versionOf = (id) => {
    if (inViewer()?.dataset.row === id) return inViewer().dataset.version;
    return page.chosen.get(id) ?? inList(id)?.dataset.version ?? "";
  };
  // What the reviews that are being recorded have made of the versions that the person saw.
  const made = new Map();
  function learn(rows, seen) {
    for (const { swap_id, version } of rows) {
      made.set(`${swap_id} ${seen[swap_id]}`, version);
      made.delete(`${swap_id} ${version}`); // an undone review leads back to where it began
      if (page.chosen.get(swap_id) === seen[swap_id]) page.chosen.set(swap_id, version);
      for (const row of $$(`[data-row="${CSS.escape(swap_id)}"]`)) row.dataset.version = version;
    }
  }
  function afterOwnActions(id, version) {
    const later = made.get(`${id} ${version}`);
    return later ? afterOwnActions(id, later) : version;
  }

  const FITS = {
    picture: (row) => row.dataset.hasPicture === "yes",
    reviewed: (row) => Boolean(row.dataset.review),
    unknown: (row) => row.dataset.status === "unknown",
    // No task holds a row that was never sent, or that uses an earlier picture.
    task: (row) => !["rejected", "reused"].includes(row.dataset.status),
  };
  // A row that a filter has hidden since is judged by the server.
  const fitting = (ids, what) => ids.filter((id) => !rowOf(id) || !what || FITS[what](rowOf(id)));

  function offer(root, ids) {
    for (const button of $$("[data-for]", root)) button.hidden = !fitting(ids, button.dataset.for).length;
  }

  document.addEventListener("goenhance:chosen", (event) => offer(bar, event.detail));
  document.addEventListener("goenhance:shown", (event) => {
    const actions = $("[data-actions]");
    offer(actions, event.detail ? [event.detail.dataset.row] : []);
    if (!event.detail) return;
    for (const button of $$("[data-verdict]", actions)) {
      button.setAttribute("aria-pressed", button.dataset.verdict === event.detail.dataset.review);
    }
  });

  // -- reviews -------------------------------------------------------------------------------------------------------

  const REVIEWED = { approve: "picture", reject: "picture", undo: "reviewed" };
  const VERDICTS = { approve: "approved", reject: "rejected", undo: null };

  // One after the other: the second key press on a picture is about the review that the first one has made.
  let reviews = Promise.resolve();
  let pending = 0;
  function review(ids, action) {
    const seen = versions(ids);
    pending += 1;
    reviews = reviews.then(() => guarded("The review was not recorded", () => recordReview(ids, seen, action)));
    return reviews.then(async () => {
      pending -= 1;
      if (!pending) made.clear();
      // After a refusal too: it was about something that the page does not show yet.
      const shown = page.shown;
      await page.refresh();
      if (shown && ids.includes(shown) && page.shown === shown) page.show(shown);
    });
  }

  async function recordReview(chosen, seen, action) {
    const ids = fitting(chosen, REVIEWED[action]);
    if (!ids.length) return page.say("There is no picture to review");
    const asSeen = Object.fromEntries(ids.map((id) => [id, afterOwnActions(id, seen[id])]));
    const rows = await call(ours("review"), "POST", { rows: asSeen, review: VERDICTS[action] });
    learn(rows, asSeen);
    for (const { swap_id, review } of rows) {
      for (const row of $$(`[data-row="${CSS.escape(swap_id)}"]`)) {
        if (review) row.dataset.review = review;
        else delete row.dataset.review;
      }
    }
    const count = rows.length === 1 ? "Picture" : `${rows.length} pictures`;
    page.say(action === "undo" ? `${count}: review undone` : `${count} ${VERDICTS[action]}`);
  }

  function nextUnreviewed() {
    const all = $$("#rows [data-row]");
    const here = all.findIndex((row) => row.dataset.row === page.shown);
    const order = [...all.slice(here + 1), ...all.slice(0, here + 1)];
    const next = order.find((row) => ["succeeded", "reused"].includes(row.dataset.status) && !row.dataset.review);
    if (next) page.show(next.dataset.row);
    else page.say("All pictures on this page are reviewed");
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
    if (/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
    const focused = event.target.closest?.("#rows [data-row]");
    const id = inViewer()?.dataset.row || focused?.dataset.row;
    const action = { a: "approve", x: "reject", u: "undo" }[event.key];
    if (event.key === "n") nextUnreviewed();
    else if (action && id && may.has("review")) review([id], action);
    else return;
    event.preventDefault();
  });

  // -- clear -----------------------------------------------------------------------------------------------------------

  function listed(tasks) {
    const list = document.createElement("ul");
    for (const task of tasks.slice(0, 50)) {
      const item = document.createElement("li");
      const name = task.rendered_map_index || (task.map_index >= 0 ? task.map_index : "");
      item.textContent = `${task.task_id}${name === "" ? "" : ` [${name}]`}, now ${task.state || "without a state"}`;
      list.append(item);
    }
    if (tasks.length > 50) list.append(...paragraphs([`and ${tasks.length - 50} more`]));
    return list;
  }

  const CHANGED = "This has changed since it was shown. Close, and look again.";

  async function clear(ids) {
    const seen = versions(ids);
    const address = airflow(`dags/${encodeURIComponent(dag)}/clearTaskInstances`);
    async function preview() {
      const planned = await call(ours("clear", { run_id: run }), "POST", { rows: seen });
      const dry = await call(address, "POST", planned.request);
      const tasks = dry.task_instances.map(({ task_id, map_index, rendered_map_index, state, try_number }) => ({
        task_id, map_index, rendered_map_index, state, try_number,
      }));
      return { ...planned, tasks };
    }
    await guarded("Nothing was cleared", async () => {
      const shown = await preview();
      const intro = paragraphs([...shown.sentences, "Airflow's dry run: these task instances are cleared."]);
      ask("Clear the tasks of the chosen rows", [...intro, listed(shown.tasks)], `Clear ${shown.tasks.length}`, async () => {
        if (JSON.stringify(await preview()) !== JSON.stringify(shown)) throw new Error(CHANGED);
        const done = await call(address, "POST", { ...shown.request, dry_run: false });
        return `${done.task_instances.length} task instances cleared`;
      });
    });
  }

  // -- run again ---------------------------------------------------------------------------------------------------------

  async function dagThatReadsRuns(dags) {
    for (const id of dags) {
      const found = await call(airflow(`dags/${encodeURIComponent(id)}/details`), "GET").catch(() => null);
      if (found?.params && "manifest" in found.params && "statuses" in found.params) return id;
    }
    throw new Error(
      `No Dag can read the rows of this run: ${dags.join(" and ")} cannot be seen by you, or lacks the parameters manifest and statuses.`,
    );
  }

  async function again(statuses) {
    await guarded("No run was started", async () => {
      const query = { run_id: run, ...(statuses ? { statuses } : {}) };
      const preview = await call(ours("again", query), "GET");
      const id = await dagThatReadsRuns(preview.dags);
      const lines = [`A new run of ${id} reads ${preview.rows} rows of this run.`, ...preview.sentences];
      ask("Run them again", paragraphs(lines), "Start the run", async () => {
        const now = await call(ours("again", query), "GET");
        if (JSON.stringify(now) !== JSON.stringify(preview)) throw new Error(CHANGED);
        const started = await call(airflow(`dags/${encodeURIComponent(id)}/dagRuns`), "POST", preview.request);
        const link = document.createElement("a");
        link.href = `swaps?${new URLSearchParams({ dag_id: id, run_id: started.dag_run_id })}`;
        link.textContent = started.dag_run_id;
        ask("The run was started", [link], "", null);
        return `Run ${started.dag_run_id} was started`;
      });
    });
  }

  // -- settle --------------------------------------------------------------------------------------------------------------

  function settle(ids) {
    // As they are now on the screen, not as they may be when the form is sent.
    const seen = versions(ids);
    const form = $("#settle-fields").content.cloneNode(true);
    const title = ids.length === 1 ? "Settle the unknown submit" : `Settle ${ids.length} unknown submits`;
    const submits = ids.slice(0, 20).map((id) => {
      const { pair, sent } = rowOf(id)?.dataset || {};
      const time = sent ? new Date(sent).toLocaleString([], { dateStyle: "medium", timeStyle: "medium" }) : "at an unknown time";
      return Object.assign(document.createElement("li"), { textContent: pair ? `${pair}, sent ${time}` : id });
    });
    if (ids.length > 20) submits.push(...paragraphs([`and ${ids.length - 20} more`]));
    $("[data-submits]", form).replaceChildren(...submits);
    ask(title, [...form.children], "Settle", async () => {
      const given = new FormData($("form", dialog));
      const body = { rows: seen, resolution: given.get("resolution"), note: given.get("note") || null };
      if (body.resolution === "billed") body.img_uuid = given.get("img_uuid");
      if (given.get("unchecked")) body.check = false;
      const rows = await call(ours("settle"), "POST", body);
      learn(rows, seen);
      return `${rows.length} settled`;
    });
  }

  // -- pictures ------------------------------------------------------------------------------------------------------------

  function zip(ids) {
    const form = Object.assign(document.createElement("form"), { method: "post", action: ours("pictures.zip") });
    for (const id of ids) form.append(Object.assign(document.createElement("input"), { name: "swap_ids", value: id }));
    form.hidden = true;
    document.body.append(form);
    form.submit();
    form.remove();
  }

  const ACTIONS = { clear, settle, zip };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-action]");
    if (!button) return;
    const name = button.dataset.action;
    const ids = button.closest("#viewer") ? [inViewer()?.dataset.row].filter(Boolean) : [...page.chosen.keys()];
    if (name === "again") again(button.dataset.statuses);
    else if (name in REVIEWED) review(ids, name);
    else ACTIONS[name](fitting(ids, button.dataset.for));
  });
})();
