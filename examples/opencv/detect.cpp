// Faces of a picture by OpenCV alone: detect MODEL_float32_raw.onnx WIDTH HEIGHT PICTURE
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <opencv2/dnn.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

int main(int argc, char** argv) {
  if (argc != 5) return std::fprintf(stderr, "detect MODEL_float32_raw.onnx WIDTH HEIGHT PICTURE\n"), 1;
  const int width = std::atoi(argv[2]), height = std::atoi(argv[3]);
  cv::dnn::Net net = cv::dnn::readNetFromONNX(argv[1]);
  cv::Mat image, picture = cv::imread(argv[4]);
  cv::resize(picture, image, {width, height}, 0, 0, cv::INTER_AREA);
  cv::cvtColor(image, image, cv::COLOR_BGR2RGB);
  image.convertTo(image, CV_32F);
  net.setInput(cv::Mat({1, height, width, 3}, CV_32F, image.data));  // RGB 0..255
  std::vector<cv::String> names = {"raw_boxes", "raw_scores"};
  const std::vector<cv::String> given = net.getUnconnectedOutLayersNames();
  if (std::count(given.begin(), given.end(), "raw_landmarks")) names.push_back("raw_landmarks");
  std::vector<cv::Mat> outputs;
  net.forward(outputs, names);
  const float *boxes = outputs[0].ptr<float>(), *scores = outputs[1].ptr<float>();
  std::vector<cv::Rect2d> corners;  // boxes are ycenter, xcenter, height, width in fractions of the picture
  for (const float* b = boxes; b != boxes + outputs[0].total(); b += 4)
    corners.emplace_back((b[1] - b[3] / 2) * picture.cols, (b[0] - b[2] / 2) * picture.rows, b[3] * picture.cols, b[2] * picture.rows);
  std::vector<int> kept;
  cv::dnn::NMSBoxes(corners, {scores, scores + corners.size()}, 0.5f, 0.5f, kept);
  for (int i : kept) {
    std::printf("%.3f %.1f %.1f %.1f %.1f", scores[i], corners[i].x, corners[i].y, corners[i].br().x, corners[i].br().y);
    for (int k = 0, n = names.size() > 2 ? int(outputs[2].total() / corners.size()) : 0; k < n; k += 2) {
      const float* p = outputs[2].ptr<float>() + i * n + k;  // y, x
      std::printf(" %.1f,%.1f", p[1] * picture.cols, p[0] * picture.rows);
    }
    std::printf("\n");
  }
}
