// One thing at a time: LiteRT's WebAssembly computes, compiles and frees for one caller.
let queue = Promise.resolve();

/** Waits until all that was asked before is done: no detector is deleted while it computes. */
export function inTurn(work) {
  const done = queue.then(work);
  queue = done.catch(() => {});
  return done;
}
