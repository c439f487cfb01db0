// Draws the landmarks of one moment.

const MARGIN = 15; // hundredths of a shoulder width
const WIDTHS = { body: 3, face: 1.2, lips: 1.5, hands: 1.6 };
const LANES = { body: "--quiet", face: "--quiet", lips: "--lane-2", hands: "--lane-0" };

export class Skeleton {
  constructor(canvas) {
    this.canvas = canvas;
    this.landmarks = null;
    this.seconds = 0;
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  show(landmarks) {
    this.landmarks = landmarks;
    this.canvas.hidden = !landmarks;
    if (landmarks) this.box = boxOf(landmarks.frames);
    this.at(0);
  }

  at(seconds) {
    this.seconds = seconds;
    this.draw();
  }

  draw() {
    if (!this.landmarks) return;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    this.canvas.width = width * ratio;
    this.canvas.height = height * ratio;
    const context = this.canvas.getContext("2d");
    const [left, top, right, bottom] = this.box;
    const scale = Math.min(width / (right - left), height / (bottom - top));
    context.scale(ratio, ratio);
    context.translate(width / 2 - (scale * (left + right)) / 2, height / 2 - (scale * (top + bottom)) / 2);
    context.lineCap = context.lineJoin = "round";
    const { frames, fps, lines } = this.landmarks;
    const frame = frames[Math.min(frames.length - 1, Math.floor(this.seconds * fps))];
    const style = getComputedStyle(this.canvas);
    for (const [part, chains] of Object.entries(lines)) {
      context.strokeStyle = style.getPropertyValue(LANES[part] ?? "--text");
      context.lineWidth = WIDTHS[part] ?? 2;
      context.beginPath();
      for (const chain of chains) drawChain(context, chain, frame, scale);
      if (part === "body") this.drawNeck(context, frame, scale);
      context.stroke();
    }
  }

  // From between the shoulders towards the mouth, so that the face belongs to the body.
  drawNeck(context, frame, scale) {
    const { keypoints, lines } = this.landmarks;
    const foot = meanOf(frame, ["left_shoulder", "right_shoulder"].map((name) => keypoints.indexOf(name)));
    const mouth = meanOf(frame, lines.lips[0]);
    if (!foot || !mouth) return;
    context.moveTo(foot[0] * scale, foot[1] * scale);
    context.lineTo((0.35 * foot[0] + 0.65 * mouth[0]) * scale, (0.35 * foot[1] + 0.65 * mouth[1]) * scale);
  }
}

// The mean of points; null where one of them was not seen.
function meanOf(frame, points) {
  const [x, y] = [points.map((i) => frame[2 * i]), points.map((i) => frame[2 * i + 1])];
  if ([...x, ...y].some((value) => value === null)) return null;
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  return [mean(x), mean(y)];
}

function drawChain(context, chain, frame, scale) {
  let joined = false;
  for (const point of chain) {
    const [x, y] = [frame[2 * point], frame[2 * point + 1]];
    if (x === null || y === null) {
      joined = false;
    } else if (joined) {
      context.lineTo(x * scale, y * scale);
    } else {
      context.moveTo(x * scale, y * scale);
      context.lineTo(x * scale + 0.1, y * scale); // a dot where neighbours were not seen
      context.moveTo(x * scale, y * scale);
      joined = true;
    }
  }
}

function boxOf(frames) {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const frame of frames) {
    for (let i = 0; i < frame.length; i += 2) {
      if (frame[i] === null) continue;
      left = Math.min(left, frame[i]);
      right = Math.max(right, frame[i]);
      top = Math.min(top, frame[i + 1]);
      bottom = Math.max(bottom, frame[i + 1]);
    }
  }
  if (left > right) return [-100, -100, 100, 100];
  return [left - MARGIN, top - MARGIN, right + MARGIN, bottom + MARGIN];
}
