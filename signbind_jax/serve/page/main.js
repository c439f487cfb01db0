// The page: takes a recording, follows its job, shows the answer.

import * as api from "./api.js";
import { Camera } from "./camera.js";
import { offerExamples } from "./examples.js";
import { extract } from "./finder.js";
import { Lanes, percent } from "./lanes.js";
import { Replay } from "./replay.js";
import { Skeleton } from "./skeleton.js";

const by = (id) => document.getElementById(id);
const camera = new Camera(by("preview"));
const skeleton = new Skeleton(by("skeleton"));
const lanes = new Lanes(by("lanes"), by("lanes-scroll"), (seconds) => replay.seek(seconds));
const replay = new Replay(by("play"), by("time"), by("clock"), (seconds) => {
  skeleton.at(seconds);
  lanes.at(seconds);
});
const WAIT_S = 2; // of a question for a job
const MOST_TRIES = 5; // to ask while the server is busy
let about = null; // what the server says of its translator
let begun = null; // until then it has not said
let shown = null; // the answer on the page
let going = null; // aborts what is under way

async function begin() {
  try {
    about = await api.translator();
  } catch (error) {
    if (error.status === 401) askForToken();
    else tellProblem(error);
    return;
  }
  by("token-card").hidden = true;
  by("take").hidden = false;
  describe();
  offerExamples(by("examples"), by("notes"), translate, tellProblem);
}

function describe() {
  const { limits, note } = about;
  by("trained").textContent = [note, trainedOn(), "It makes mistakes."].filter(Boolean).join(" ");
  by("errs").textContent = about.errs;
  const megabytes = Math.floor(limits.most_upload_bytes / 1e6);
  by("limits").textContent = `, of at most ${limits.most_seconds} seconds and ${megabytes} MB`;
  const found = about.crops ? "its landmarks and pictures of the mouth" : "its landmarks";
  const goes = about.landmarks === "browser"
    ? `A video stays in this browser: ${found} go to this server and nowhere else, and are deleted as soon as they are read. `
    : "The recording goes to this server and nowhere else, and is deleted as soon as it is read. ";
  by("where").textContent = `${goes}The answer is forgotten after ${duration(limits.keep_s)}.`;
}

function trainedOn() {
  const sets = about.trained_on.map((set) => {
    const from = set.signed_languages.map(nameOf).join(", ");
    const to = set.text_languages.map(nameOf).join(", ");
    return (set.corpus || "an unnamed dataset") + (from || to ? ` (${[from, to].filter(Boolean).join(" to ")})` : "");
  });
  const unknown = about.unknown.length ? "What all of it was trained on is not known here." : "";
  const synthetic = about.synthetic ? "These are synthetic data: it reads nobody's real signing." : "";
  return [sets.length ? `Trained on ${sets.join(", ")}.` : "", unknown, synthetic].filter(Boolean).join(" ");
}

// The English name of a language's tag; an unknown tag itself.
function nameOf(tag) {
  try {
    return new Intl.DisplayNames(["en"], { type: "language" }).of(tag);
  } catch {
    return tag;
  }
}

const duration = (seconds) => (seconds < 120 ? `${seconds} seconds` : `${Math.round(seconds / 60)} minutes`);

function askForToken() {
  by("take").hidden = true;
  by("token-card").hidden = false;
  by("token").focus();
}

by("token-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  api.setToken(by("token").value.trim());
  await begin();
  by("token-problem").hidden = Boolean(about);
  by("token-problem").textContent = "This token was refused.";
});

function tellProblem(error) {
  by("problem").textContent = error.message;
  by("problem").hidden = false;
}

// Landmarks and token streams are sent as they are, anything else is a video.
const isVideo = (name) => !/\.(npz|pose|jsonl)$/i.test(name);

// Finds the landmarks of a video where that is for the page to do; gives [file, name].
async function landmarksOf(file, name, signal) {
  if (about.landmarks !== "browser" || !isVideo(name)) return [file, name];
  const canvas = by("found");
  const tell = (share) => {
    canvas.hidden = false;
    tellStep(share / 2, "Finding the landmarks");
  };
  tellStep(0, "Loading what finds landmarks");
  const options = { mostSeconds: about.limits.most_seconds, crops: about.crops, canvas, tell, signal };
  try {
    return [await extract(file, name, options), `${name}.npz`];
  } finally {
    canvas.hidden = true;
  }
}

// Uploads a recording, waits for its answer and shows it.
async function translate(file, name) {
  await begun; // a file may be dropped before
  if (!about) return; // why is told
  clear();
  going = new AbortController();
  const { signal } = going;
  let id = null;
  by("take").hidden = true;
  by("work").hidden = false;
  by("cancel").focus();
  try {
    [file, name] = await landmarksOf(file, name, signal);
    const { most_upload_bytes: most } = about.limits;
    if (file.size > most) throw new Error(`${name}: found ${file.size} bytes, wanted at most ${most}.`);
    tellStep(0, `Uploading ${name}`);
    id = await api.upload(file, name, (share) => tellStep(share / 4, `Uploading ${name}`), signal);
    const job = await follow(id, signal);
    const found = job.has_landmarks ? await api.landmarks(id, signal) : null;
    show(job, found);
  } catch (error) {
    by("take").hidden = false;
    by("file").focus();
    if (error.name !== "AbortError") tellProblem(error);
    else if (id) api.forget(id).catch(() => {});
  } finally {
    by("work").hidden = true;
    going = null;
  }
}

async function follow(id, signal) {
  for (let tries = 0; ; ) {
    let job;
    try {
      job = await api.job(id, WAIT_S, signal);
      tries = 0;
    } catch (error) {
      if (![0, 503].includes(error.status) || ++tries > MOST_TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000 * WAIT_S)); // a moment of many others
      continue;
    }
    if (job.state === "done") return job;
    if (job.problem) throw new Error(job.problem);
    tellStep((1 + 3 * job.progress) / 4, stepOf(job));
  }
}

function stepOf(job) {
  const others = job.ahead ? `, ${job.ahead} before it` : "";
  if (job.state === "queued") return `Waiting${others}`;
  return job.state === "reading" ? "Finding the landmarks" : `Translating${others}`;
}

function tellStep(share, text) {
  by("bar").value = share;
  if (by("step").textContent !== text) by("step").textContent = text;
}

// Shows all of an answer at once: `found` are its landmarks, null where none were kept.
function show(job, found) {
  shown = job;
  const { result } = job;
  by("result").hidden = false;
  by("sentence").textContent = result.text || "Nothing was read.";
  by("sentence").classList.toggle("nothing", !result.text);
  by("notes").replaceChildren(...job.notes.map((note) => item("li", note)));
  const titles = Object.fromEntries(about.streams.map((stream) => [stream.name, stream.title]));
  const seconds = durationOf(result.streams, found);
  by("replay").hidden = !found;
  skeleton.show(found);
  lanes.show(result.streams, titles, seconds);
  replay.load(seconds);
  fillTable(result.streams, titles);
  const without = result.no_input.map((name) => titles[name] ?? name);
  by("no-input").textContent = without.length ? `Had nothing to read in this recording: ${without.join(", ")}.` : "";
  by("result").focus({ preventScroll: true });
}

function durationOf(streams, found) {
  const ends = Object.values(streams).flat().map((token) => token.end);
  return Math.max(found ? found.frames.length / found.fps : 0, ...ends, 0.1);
}

function fillTable(streams, titles) {
  const rows = Object.entries(streams).flatMap(([name, tokens]) =>
    tokens.map((token) => {
      const row = document.createElement("tr");
      const cells = [titles[name] ?? name, token.token, token.start.toFixed(2), token.end.toFixed(2), percent(token.confidence)];
      row.append(...cells.map((text) => item("td", text)));
      return row;
    }),
  );
  by("tokens").tBodies[0].replaceChildren(...rows);
}

function item(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

function clear() {
  by("problem").hidden = by("result").hidden = true;
  replay.pause();
  shown = null;
}

by("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  event.target.value = "";
  if (file) translate(file, file.name);
});

for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault(); // a file that misses the field would replace the page
    by("drop").classList.toggle("over", name === "dragover");
    const file = name === "drop" && event.dataTransfer.files[0];
    if (file && about && !going) translate(file, file.name);
  });
}

by("camera").addEventListener("click", async () => {
  by("problem").hidden = true;
  try {
    await camera.on();
    by("drop").hidden = true;
    by("camera-card").hidden = false;
    by("record").focus();
  } catch (error) {
    tellProblem(error);
  }
});

by("record").addEventListener("click", async () => {
  if (camera.recording) {
    camera.stop();
    return;
  }
  by("record").textContent = "Stop and translate";
  by("record").classList.add("on");
  const most = about.limits.most_seconds;
  const tell = (seconds) => (by("recorded").textContent = `${seconds} s of at most ${most}`);
  try {
    const [recording, name] = await camera.record(most, tell);
    turnCameraOff();
    await translate(recording, name);
  } catch (error) {
    turnCameraOff();
    tellProblem(error);
  }
});

function turnCameraOff() {
  camera.off();
  by("record").textContent = "Record";
  by("record").classList.remove("on");
  by("recorded").textContent = "";
  by("camera-card").hidden = true;
  by("drop").hidden = false;
}

by("camera-off").addEventListener("click", () => {
  if (camera.recording) camera.recorder.onstop = null; // what was recorded is not wanted
  turnCameraOff();
});
by("cancel").addEventListener("click", () => going?.abort());
by("again").addEventListener("click", () => {
  clear();
  by("take").hidden = false;
  by("take").focus();
});
by("delete").addEventListener("click", async () => {
  const { id } = shown;
  clear();
  by("take").hidden = false;
  by("take").focus();
  await api.forget(id).catch(tellProblem);
});

begun = begin();
