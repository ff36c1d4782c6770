// The camera: its frames, or a sentence that says why there are none.
const REASONS = {
  NotAllowedError: 'it was not allowed. Allow it in the browser’s address bar and try again',
  NotFoundError: 'this device has none',
  NotReadableError: 'another program is using it',
  InsecureContext: 'browsers give it to https:// pages and to localhost only (make web HTTPS=1)',
};

export class Camera {
  stream = null;

  /** Calls onFrame(video) for each frame, one after the other, until stop(). Throws a sentence. */
  async start(onFrame) {
    const stream = await open();
    const video = Object.assign(document.createElement('video'), { srcObject: stream, muted: true, playsInline: true });
    await video.play();
    this.stream = stream;
    const next = async () => {
      if (this.stream !== stream) return;
      if (video.videoWidth) await onFrame(video);
      requestAnimationFrame(next);
    };
    next();
  }

  stop() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
  }
}

async function open() {
  try {
    if (!navigator.mediaDevices) throw new DOMException('', 'InsecureContext');
    return await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'user' }, audio: false });
  } catch (error) {
    throw new Error(`No camera: ${REASONS[error.name] ?? error.message}. You can open a picture instead.`);
  }
}
