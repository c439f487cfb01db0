// The time in the recording that is shown: played, paused, or chosen with the slider.

export class Replay {
  constructor(play, slider, clock, shown) {
    Object.assign(this, { play, slider, clock, shown, playing: false, seconds: 1, now: 0 });
    play.addEventListener("click", () => (this.playing ? this.pause() : this.start()));
    slider.addEventListener("input", () => {
      this.pause();
      this.seek(Number(slider.value));
    });
  }

  load(seconds) {
    this.pause();
    this.seconds = seconds;
    this.slider.max = seconds;
    this.seek(0);
  }

  seek(seconds) {
    this.now = Math.min(Math.max(seconds, 0), this.seconds);
    this.slider.value = this.now;
    const text = `${this.now.toFixed(1)} of ${this.seconds.toFixed(1)} s`;
    this.clock.textContent = text;
    this.slider.setAttribute("aria-valuetext", text);
    this.shown(this.now);
  }

  start() {
    if (this.now >= this.seconds - 0.05) this.seek(0);
    this.setPlaying(true);
    let before = performance.now();
    const step = (time) => {
      if (!this.playing) return;
      this.seek(this.now + (time - before) / 1000);
      before = time;
      if (this.now >= this.seconds) this.pause();
      else requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  pause() {
    this.setPlaying(false);
  }

  setPlaying(playing) {
    this.playing = playing;
    this.play.textContent = playing ? "Pause" : "Play";
    this.play.setAttribute("aria-pressed", String(playing));
  }
}
