// Gradient ascent on an image: Ascend grad.onnx CLASS image.raw
// Needs the package Microsoft.ML.OnnxRuntime.
using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Runtime.InteropServices;
using Microsoft.ML.OnnxRuntime;

const int Steps = 10;
const float Tau = 0.02f;

long which = long.Parse(args[1]);
using var options = new SessionOptions
{
    // it would warn of the inputs that have a default
    LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR,
};
using var session = new InferenceSession(args[0], options);
using var runOptions = new RunOptions();
Console.WriteLine($"class {which}");

// (N, C, H, W)
long[] shape = session.InputMetadata["image"].Dimensions.Select(d => (long)d).ToArray();
var u = new float[shape.Aggregate((a, b) => a * b)];
Array.Fill(u, 0.5f);
var target = new long[shape[0]];
Array.Fill(target, which);

// both tensors refer to our arrays, so that the loop writes the image in place
using OrtValue image = OrtValue.CreateTensorValueFromMemory(u, shape);
using OrtValue classes = OrtValue.CreateTensorValueFromMemory(target, new[] { shape[0] });
var inputs = new Dictionary<string, OrtValue> { ["image"] = image, ["class"] = classes };

for (int step = 0; step < Steps; step++)
{
    using var outputs = session.Run(runOptions, inputs, new[] { "value", "gradient" });
    float value = outputs[0].GetTensorDataAsSpan<float>()[0];
    Console.WriteLine(FormattableString.Invariant($"{step} {value:F6}"));
    ReadOnlySpan<float> g = outputs[1].GetTensorDataAsSpan<float>();
    double sum = 0;
    foreach (float x in g) sum += Math.Abs(x);
    float scale = Tau / (float)(sum / g.Length);
    for (int k = 0; k < u.Length; k++) u[k] = Math.Clamp(u[k] + scale * g[k], 0f, 1f);
}
File.WriteAllBytes(args[2], MemoryMarshal.AsBytes(u.AsSpan()).ToArray()); // float32, (N, C, H, W)
