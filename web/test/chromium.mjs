// Flags of the Chromium that the tests drive.

/** It asks nothing of the network but the page. */
export const quiet = ['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
export const noGpu = '--disable-gpu';
/** A film in the camera's place. */
export const camera = (film) => ['--use-fake-device-for-media-stream', `--use-file-for-fake-video-capture=${film}`];
/** Whoever asks for the camera gets it. */
export const allowed = '--use-fake-ui-for-media-stream';
