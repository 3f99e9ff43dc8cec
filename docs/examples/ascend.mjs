// Gradient ascent on an image: node ascend.mjs grad.onnx CLASS image.raw
import { readFile, writeFile } from "node:fs/promises";
import * as ort from "onnxruntime-web";

const STEPS = 10;
const TAU = 0.02;

const [path, which, out] = process.argv.slice(2);
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(await readFile(path), { executionProviders: ["wasm"] });
console.log(`class ${which}`);

const shape = session.inputMetadata[session.inputNames.indexOf("image")].shape; // [N, C, H, W]
const u = new Float32Array(shape.reduce((a, b) => a * b)).fill(0.5);
const target = new ort.Tensor("int64", new BigInt64Array(shape[0]).fill(BigInt(which)), [shape[0]]);
for (let step = 0; step < STEPS; step++) {
  const image = new ort.Tensor("float32", u, shape);
  const { value, gradient } = await session.run({ image, class: target });
  console.log(step, value.data[0].toFixed(6));
  const g = gradient.data;
  const mean = g.reduce((sum, x) => sum + Math.abs(x), 0) / g.length;
  u.forEach((x, k) => (u[k] = Math.min(Math.max(x + (TAU * g[k]) / mean, 0), 1)));
}
await writeFile(out, new Uint8Array(u.buffer)); // float32, [N, C, H, W]
