// The frames of a video at a steady rate, as the server puts them: place i of the grid shows what
// the video shows nearest to its time.

const RATES = [1, 240]; // frames a second that are believed
const PROBED = 12; // frames that tell the rate
const PROBE_S = 20; // at most, to see them
const LATE_MS = 250; // by which a picture may come after its seek is over
const SLOWLY = [0.25, 0.0625]; // of their speed, so that few are left out; the next where many are

const once = (target, name) => new Promise((resolve) => target.addEventListener(name, resolve, { once: true }));

export class Frames {
  constructor(file, name) {
    this.name = name;
    this.video = document.createElement("video");
    Object.assign(this.video, { muted: true, playsInline: true, preload: "auto" });
    this.url = this.video.src = URL.createObjectURL(file);
  }

  // Finds out rate and number of frames; throws what a user can read.
  async open(mostSeconds) {
    const { video, name } = this;
    const failed = once(video, "error").then(() => {
      throw new Error(`${name}: this browser cannot play it.`);
    });
    await Promise.race([once(video, "loadeddata"), failed]);
    if (!Number.isFinite(video.duration)) { // a recording of the camera: its end tells
      video.currentTime = 1e7;
      while (!Number.isFinite(video.duration)) await Promise.race([once(video, "durationchange"), failed]);
    }
    if (video.duration > mostSeconds) {
      throw new Error(`${name}: found ${video.duration.toFixed(1)} seconds, wanted at most ${mostSeconds}.`);
    }
    const [first, fps] = await this.probe();
    const last = await this.lastAfter(first);
    Object.assign(this, { first, fps, n: Math.round((last - first) * fps) + 1 });
    Object.assign(this, { width: video.videoWidth, height: video.videoHeight });
  }

  // The first frame's time, and frames a second.
  async probe() {
    const { video, name } = this;
    if (!video.requestVideoFrameCallback) throw new Error("This browser is too old to find landmarks.");
    for (const speed of SLOWLY) {
      const times = await this.played(speed);
      const steps = times.slice(1).map((time, i) => time - times[i]).filter((step) => step > 1 / 500);
      const frames = steps.map((step) => Math.round(step / Math.min(...steps)));
      // A busy machine leaves frames out: one step in two at least is from a frame to the next.
      if (frames.filter((n) => n > 1).length > frames.length / 2 && speed !== SLOWLY.at(-1)) continue;
      const sum = (numbers) => numbers.reduce((x, y) => x + y, 0);
      const fps = sum(frames) / sum(steps);
      if (!(fps >= RATES[0] && fps <= RATES[1])) break;
      // The first one was on show before it was played, so it need not be among those seen.
      const before = Math.floor(times[0] * fps + 0.1);
      return [times[0] - before / fps, Math.round(1000 * fps) / 1000];
    }
    throw new Error(`${name}: its frames a second cannot be told.`);
  }

  // The times of the frames that are on show while its beginning is played, in their order.
  async played(speed) {
    const { video } = this;
    await this.seek(0);
    const times = new Set();
    await new Promise((resolve, reject) => {
      const seen = (_, { mediaTime }) => {
        times.add(mediaTime);
        if (times.size > PROBED) resolve();
        else video.requestVideoFrameCallback(seen);
      };
      video.requestVideoFrameCallback(seen);
      video.addEventListener("ended", resolve, { once: true });
      setTimeout(resolve, 1000 * PROBE_S);
      video.playbackRate = speed;
      video.play().catch(reject);
    });
    video.pause();
    return [...times].sort((x, y) => x - y);
  }

  // The last frame's time. What a file says of its end may be that or when that frame is over.
  async lastAfter(first) {
    const { video } = this;
    await this.seek(0);
    const last = new Promise((resolve) => {
      const seen = (_, { mediaTime }) => (mediaTime > first ? resolve(mediaTime) : video.requestVideoFrameCallback(seen));
      video.requestVideoFrameCallback(seen);
    });
    await this.seek(video.duration);
    return last;
  }

  // Ends with the picture of that time on show, which may come after "seeked". Where it is the one
  // that was on show already, none comes.
  async seek(seconds) {
    const { video } = this;
    const before = this.shown;
    const another = new Promise((resolve) => {
      const seen = (_, { mediaTime }) => {
        this.shown = mediaTime;
        if (mediaTime !== before) resolve();
        else video.requestVideoFrameCallback(seen);
      };
      video.requestVideoFrameCallback(seen);
    });
    const done = once(video, "seeked");
    video.currentTime = seconds;
    await done;
    await Promise.race([another, new Promise((resolve) => setTimeout(resolve, LATE_MS))]);
  }

  // Shows one frame after another and awaits `each(video, i)`.
  async go(each, signal) {
    for (let i = 0; i < this.n; i++) {
      signal.throwIfAborted();
      await this.seek(Math.min(this.first + (i + 0.5) / this.fps, this.video.duration));
      await each(this.video, i);
    }
  }

  close() {
    this.video.removeAttribute("src");
    URL.revokeObjectURL(this.url);
  }
}
