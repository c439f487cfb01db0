// Landmarks and mouth crops of a video, found in this browser: the video goes nowhere.

import { Frames } from "./frames.js";
import * as mouth from "./mouth.js";
import { npz, number, word } from "./npz.js";

const WHERE = "holistic/"; // MediaPipe's package, on this server
const SCHEME = "mediapipe_543";
const PARTS = [["poseLandmarks", 33], ["faceLandmarks", 468], ["leftHandLandmarks", 21], ["rightHandLandmarks", 21]];
const [N, FACE] = [543, 33]; // points, and the first one of the face
const BODY_MOUTH = [9, 10];
const FACE_MOUTH = [FACE + 61, FACE + 291];
const [FOREHEAD, CHIN] = [FACE + 10, FACE + 152];
const FARTHEST = 0.4; // of the face's height, between the mouths of body and face
const FINEST = 64; // parts of a pixel that coordinates are stored in
const STEP_MS = 1000 / 30; // by which Holistic's clock goes on, as on the server

let model = null; // Holistic, once it is loaded
let now = 0; // its clock

async function load() {
  if (!document.createElement("canvas").getContext("webgl2")) {
    throw new Error("This browser has no WebGL, which finding landmarks needs.");
  }
  if (!window.Holistic) {
    await new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `${WHERE}holistic.js`;
      script.onload = resolve;
      script.onerror = () => reject(new Error("What finds landmarks cannot be loaded from the server."));
      document.head.append(script);
    });
  }
  const holistic = new window.Holistic({ locateFile: (file) => WHERE + file });
  holistic.setOptions({
    modelComplexity: 1,
    smoothLandmarks: true,
    refineFaceLandmarks: false,
    minDetectionConfidence: 0.5,
    minTrackingConfidence: 0.5,
  });
  await holistic.initialize();
  return holistic;
}

// An .npz file as `signbind extract` writes it.
//
// crops: whether mouth crops are wanted. canvas: is drawn on. tell(share): how far it is.
export async function extract(file, name, { mostSeconds, crops, canvas, tell, signal }) {
  model ??= await load();
  model.reset();
  const frames = new Frames(file, name);
  try {
    await frames.open(mostSeconds);
    const { n, fps, width, height } = frames;
    const points = new Float32Array(n * N * 3);
    let found = null;
    model.onResults((results) => (found = results));
    await frames.go(async (video, t) => {
      await model.send({ image: video }, (now += STEP_MS));
      store(points, t, found, width, height);
      draw(canvas, video, points.subarray(t * N * 3, (t + 1) * N * 3));
      tell((t + 1) / n / (crops ? 1.2 : 1));
    }, signal);
    forgetWrongFaces(points, n);
    const arrays = arraysOf(points, n);
    Object.assign(arrays, { scheme: word(SCHEME), fps: number(fps), width: number(width), height: number(height) });
    if (crops) Object.assign(arrays, await cropsOf(frames, points, (share) => tell((1 + 0.2 * share) / 1.2), signal));
    return npz(arrays);
  } finally {
    frames.close();
  }
}

function store(points, t, found, width, height) {
  let at = t * N * 3;
  for (const [name, size] of PARTS) {
    const part = found?.[name];
    for (let i = 0; part && i < size; i++) {
      const { x, y, visibility } = part[i];
      points.set([x * width, y * height, name === "poseLandmarks" ? visibility : 1], at + 3 * i);
    }
    at += 3 * size;
  }
}

const pointOf = (points, t, i) => points.subarray(3 * (t * N + i), 3 * (t * N + i) + 3);

// The face model is given a place to look at and finds a face on a hand or a wall too: it counts
// only where the body has its mouth.
function forgetWrongFaces(points, n) {
  for (let t = 0; t < n; t++) {
    const at = (i) => pointOf(points, t, i);
    const middle = ([i, j]) => [(at(i)[0] + at(j)[0]) / 2, (at(i)[1] + at(j)[1]) / 2];
    if (![...BODY_MOUTH, ...FACE_MOUTH].every((i) => at(i)[2] > 0)) continue;
    const [body, face] = [middle(BODY_MOUTH), middle(FACE_MOUTH)];
    const tall = Math.hypot(at(FOREHEAD)[0] - at(CHIN)[0], at(FOREHEAD)[1] - at(CHIN)[1]);
    if (Math.hypot(body[0] - face[0], body[1] - face[1]) > FARTHEST * tall) {
      points.fill(0, 3 * (t * N + FACE), 3 * (t * N + FACE + 468));
    }
  }
}

function arraysOf(points, n) {
  const keypoints = new Float32Array(n * N * 2);
  const scores = new Float32Array(n * N);
  for (let i = 0; i < n * N; i++) {
    keypoints[2 * i] = Math.round(points[3 * i] * FINEST) / FINEST;
    keypoints[2 * i + 1] = Math.round(points[3 * i + 1] * FINEST) / FINEST;
    scores[i] = points[3 * i + 2];
  }
  return { keypoints: ["<f4", [n, N, 2], keypoints], scores: ["<f4", [n, N], scores] };
}

// A second pass, as a crop needs the landmarks of the frames behind it.
async function cropsOf(frames, points, tell, signal) {
  const { n, width, height } = frames;
  const { transforms, states } = mouth.transforms(n, (t, i) => pointOf(points, t, FACE + i), frames.fps);
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  const crops = new Array(n).fill(null);
  if (states.some((state) => state !== mouth.NO_FACE)) {
    await frames.go((video, t) => {
      tell((t + 1) / n);
      if (states[t] === mouth.NO_FACE) return;
      context.drawImage(video, 0, 0, width, height);
      crops[t] = mouth.cut(greyOf(context.getImageData(0, 0, width, height)), transforms[t]);
    }, signal);
  }
  const filled = mouth.fillMissing(crops, states);
  const lips = new Uint8Array(filled.length * mouth.SIZE ** 2);
  filled.forEach((crop, t) => lips.set(crop, t * mouth.SIZE ** 2));
  return {
    lips: ["|u1", [filled.length, mouth.SIZE, mouth.SIZE], lips],
    lip_state: ["|u1", [n], Uint8Array.from(states)],
  };
}

// The luma of a picture (ITU-R BT.601, and BT.709 from 720 lines on, as videos are coded).
function greyOf({ data, width, height }) {
  const [r, g, b] = height < 720 ? [0.299, 0.587, 0.114] : [0.2126, 0.7152, 0.0722];
  const grey = new Uint8Array(width * height);
  for (let i = 0; i < grey.length; i++) grey[i] = Math.round(r * data[4 * i] + g * data[4 * i + 1] + b * data[4 * i + 2]);
  return { data: grey, width, height };
}

// The frame with what was found on it.
function draw(canvas, video, points) {
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0);
  context.fillStyle = context.strokeStyle = "#39ff88";
  context.lineWidth = Math.max(1, canvas.height / 200);
  const seen = (i) => points[3 * i + 2] > 0.5;
  for (const [first, chain] of [[0, window.POSE_CONNECTIONS], [501, window.HAND_CONNECTIONS], [522, window.HAND_CONNECTIONS]]) {
    for (const [i, j] of chain ?? []) {
      const [p, q] = [first + i, first + j];
      if (!seen(p) || !seen(q)) continue;
      context.beginPath();
      context.moveTo(points[3 * p], points[3 * p + 1]);
      context.lineTo(points[3 * q], points[3 * q + 1]);
      context.stroke();
    }
  }
  for (let i = FACE; i < FACE + 468; i += 4) if (seen(i)) context.fillRect(points[3 * i] - 0.5, points[3 * i + 1] - 0.5, 1.5, 1.5);
}
