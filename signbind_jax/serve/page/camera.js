// The camera: what it sees, and a recording of it.

const KINDS = [
  ["video/webm;codecs=vp9", "webm"],
  ["video/webm;codecs=vp8", "webm"],
  ["video/webm", "webm"],
  ["video/mp4", "mp4"],
];

export class Camera {
  constructor(preview) {
    this.preview = preview;
    this.stream = null;
    this.recorder = null;
  }

  async on() {
    if (!navigator.mediaDevices) {
      throw new Error("The browser gives no camera to this page: it wants https or localhost.");
    }
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({
        audio: false,
        video: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 }, facingMode: "user" },
      });
    } catch (error) {
      throw new Error(`The camera cannot be used: ${error.message || error.name}.`);
    }
    this.preview.srcObject = this.stream;
    await this.preview.play();
  }

  off() {
    if (this.recorder?.state === "recording") this.recorder.stop();
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = this.preview.srcObject = null;
  }

  // Records until `stop` is called or `mostSeconds` are over; gives [blob, file name]. `tell` gets
  // the whole seconds that are over.
  record(mostSeconds, tell) {
    const found = KINDS.find(([kind]) => window.MediaRecorder?.isTypeSupported(kind));
    if (!found) throw new Error("The browser cannot record video.");
    const [mimeType, ending] = found;
    const parts = [];
    this.recorder = new MediaRecorder(this.stream, { mimeType, videoBitsPerSecond: 4e6 });
    this.recorder.ondataavailable = (event) => parts.push(event.data);
    const done = new Promise((resolve, reject) => {
      this.recorder.onstop = () => resolve([new Blob(parts, { type: mimeType }), `camera.${ending}`]);
      this.recorder.onerror = (event) => reject(new Error(`Recording failed: ${event.error?.name}.`));
    });
    this.recorder.start();
    const start = performance.now();
    const tick = () => {
      const seconds = Math.floor((performance.now() - start) / 1000);
      tell(seconds);
      if (seconds >= mostSeconds) this.stop();
    };
    tick();
    const timer = setInterval(tick, 100);
    return done.finally(() => clearInterval(timer));
  }

  get recording() {
    return this.recorder?.state === "recording";
  }

  stop() {
    if (this.recording) this.recorder.stop();
  }
}
