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
      if (done) page.announce(done);
      if (confirmed === work) dialog.close();
      const shown = page.shown;
      await page.refresh();
      // The larger view behind the dialog shows the row as it is now.
      if (shown && page.shown === shown) page.show(shown);
    } catch (error) {
      $("[data-error]", dialog).textContent = error.message;
      yes.disabled = false;
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

  const rowOf = (id) => $(`#rows [data-row="${CSS.escape(id)}"]`);
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
    if (!event.detail) return;
    const actions = $("[data-actions]");
    offer(actions, [event.detail.id]);
    for (const button of $$("[data-verdict]", actions)) {
      button.setAttribute("aria-pressed", button.dataset.verdict === event.detail.row.dataset.review);
    }
  });

  // -- reviews -------------------------------------------------------------------------------------------------------

  const REVIEWED = { approve: "picture", reject: "picture", undo: "reviewed" };
  const VERDICTS = { approve: "approved", reject: "rejected", undo: null };

  async function review(ids, action) {
    if (!ids.length) return page.announce("There is no picture to review");
    await guarded("The review was not recorded", async () => {
      const rows = await call(ours("review"), "POST", { swap_ids: ids, review: VERDICTS[action] });
      for (const { swap_id, review } of rows) {
        const row = rowOf(swap_id);
        if (row && review) row.dataset.review = review;
        else if (row) delete row.dataset.review;
      }
      const count = rows.length === 1 ? "Picture" : `${rows.length} pictures`;
      page.announce(action === "undo" ? `${count}: review undone` : `${count} ${VERDICTS[action]}`);
      const shown = page.shown;
      await page.refresh();
      if (shown && ids.includes(shown)) page.show(shown);
    });
  }

  function nextUnreviewed() {
    const all = $$("#rows [data-row]");
    const here = all.findIndex((row) => row.dataset.row === page.shown);
    const order = [...all.slice(here + 1), ...all.slice(0, here + 1)];
    const next = order.find((row) => ["succeeded", "reused"].includes(row.dataset.status) && !row.dataset.review);
    if (next) page.show(next.dataset.row);
    else page.announce("All pictures on this page are reviewed");
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
    if (/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
    const focused = event.target.closest?.("#rows [data-row]");
    const id = page.shown || focused?.dataset.row;
    const action = { a: "approve", x: "reject", u: "undo" }[event.key];
    if (event.key === "n") nextUnreviewed();
    else if (action && id && may.has("review")) review(fitting([id], REVIEWED[action]), action);
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

  async function clear(ids) {
    await guarded("Nothing was cleared", async () => {
      const preview = await call(ours("clear", { run_id: run }), "POST", { swap_ids: ids });
      const address = airflow(`dags/${encodeURIComponent(dag)}/clearTaskInstances`);
      const dry = await call(address, "POST", preview.request);
      const tasks = dry.task_instances;
      const intro = paragraphs([...preview.sentences, "Airflow's dry run: these task instances are cleared."]);
      ask("Clear the tasks of the chosen rows", [...intro, listed(tasks)], `Clear ${tasks.length}`, async () => {
        const done = await call(address, "POST", { ...preview.request, dry_run: false });
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
    throw new Error(`None of the Dags ${dags.join(", ")} has the parameters manifest and statuses, and may be seen.`);
  }

  async function again(statuses) {
    await guarded("No run was started", async () => {
      const query = { run_id: run, ...(statuses ? { statuses } : {}) };
      const preview = await call(ours("again", query), "GET");
      const id = await dagThatReadsRuns(preview.dags);
      const lines = [`A new run of ${id} reads ${preview.rows} rows of this run.`, ...preview.sentences];
      ask("Run them again", paragraphs(lines), "Start the run", async () => {
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
    const form = $("#settle-fields").content.cloneNode(true);
    const title = ids.length === 1 ? "Settle the unknown submit" : `Settle ${ids.length} unknown submits`;
    ask(title, [...form.children], "Settle", async () => {
      const given = new FormData($("form", dialog));
      const body = { swap_ids: ids, resolution: given.get("resolution"), note: given.get("note") || null };
      if (body.resolution === "billed") body.img_uuid = given.get("img_uuid");
      if (given.get("unchecked")) body.check = false;
      const rows = await call(ours("settle"), "POST", body);
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

  const ACTIONS = { clear, settle, zip, approve: review, reject: review, undo: review };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-action]");
    if (!button) return;
    const name = button.dataset.action;
    const ids = button.closest("#viewer") ? [page.shown] : [...page.chosen];
    if (name === "again") again(button.dataset.statuses);
    else ACTIONS[name](fitting(ids, button.dataset.for), name);
  });
})();
