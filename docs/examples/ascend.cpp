// Gradient ascent on an image: ascend grad.onnx CLASS image.raw
// c++ -std=c++17 ascend.cpp -lonnxruntime -o ascend
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <numeric>
#include <vector>

int main(int, char** argv) {
  constexpr int steps = 10;
  constexpr float tau = 0.02f;

  const std::filesystem::path path(argv[1]);
  const std::int64_t which = std::atoll(argv[2]);
  Ort::Env env(ORT_LOGGING_LEVEL_ERROR);  // it would warn of the inputs that have a default
  Ort::Session session(env, path.c_str(), Ort::SessionOptions());
  std::printf("class %s\n", argv[2]);

  // (N, C, H, W); "image" is the first input
  const std::vector<std::int64_t> shape = session.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape();
  std::vector<float> u(std::accumulate(shape.begin(), shape.end(), std::size_t{1}, std::multiplies<>()), 0.5f);
  std::vector<std::int64_t> target(shape[0], which);

  // both tensors refer to our vectors, so that the loop writes the image in place
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const std::array<Ort::Value, 2> inputs = {
      Ort::Value::CreateTensor<float>(memory, u.data(), u.size(), shape.data(), shape.size()),
      Ort::Value::CreateTensor<std::int64_t>(memory, target.data(), target.size(), shape.data(), 1)};
  const std::array<const char*, 2> input_names = {"image", "class"};
  const std::array<const char*, 2> output_names = {"value", "gradient"};

  for (int step = 0; step < steps; ++step) {
    const std::vector<Ort::Value> outputs =
        session.Run(Ort::RunOptions(), input_names.data(), inputs.data(), 2, output_names.data(), 2);
    std::printf("%d %.6f\n", step, outputs[0].GetTensorData<float>()[0]);
    const float* g = outputs[1].GetTensorData<float>();
    double sum = 0;
    for (std::size_t k = 0; k < u.size(); ++k) sum += std::abs(g[k]);
    const float scale = tau / static_cast<float>(sum / u.size());
    for (std::size_t k = 0; k < u.size(); ++k) u[k] = std::clamp(u[k] + scale * g[k], 0.0f, 1.0f);
  }
  std::ofstream file(argv[3], std::ios::binary);  // float32, (N, C, H, W)
  file.write(reinterpret_cast<const char*>(u.data()), static_cast<std::streamsize>(u.size() * sizeof(float)));
  file.close();
  return file ? 0 : 1;
}
