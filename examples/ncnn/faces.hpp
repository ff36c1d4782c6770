// What a raw file of facedet leaves to its client: where a picture lies in the input, which boxes are faces, where these are in the
// picture. Plain C++11, no ncnn; the same arithmetic as facedet/runtime/input_spec.py and suppression.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

namespace facedet {

// How a picture comes into the input: stretched to it, or with its aspect kept, in the middle or at the upper left.
enum class Fit { stretch, pad_centre, pad_end };

// The part of the input that the picture fills, px.
struct Placement {
    int left, top, width, height;
};

struct Face {
    float xmin, ymin, xmax, ymax;                   // px of the picture, cut to it
    float score;                                    // 0..1
    std::vector<std::pair<float, float>> points;    // x, y in px of the picture
};

struct Limits {
    float score;           // least
    float iou;             // greatest, with a better box
    std::size_t faces;     // at most
};

inline Placement place(Fit fit, int input_width, int input_height, int width, int height) {
    if (fit == Fit::stretch) return {0, 0, input_width, input_height};
    const double ratio = std::min(double(input_width) / width, double(input_height) / height);
    const int w = std::min(input_width, std::max(1, int(std::nearbyint(width * ratio))));
    const int h = std::min(input_height, std::max(1, int(std::nearbyint(height * ratio))));
    if (fit == Fit::pad_end) return {0, 0, w, h};
    return {(input_width - w) / 2, (input_height - h) / 2, w, h};
}

// Of boxes that overlap the better one stays; best first. boxes: count rows of ycenter, xcenter, height, width in fractions of the input.
// scores: one a row.  points: num_points pairs y, x a row, or nullptr.
inline std::vector<Face> faces_of(const float* boxes, const float* scores, const float* points, std::size_t count, std::size_t num_points,
                                  const Limits& limits, const Placement& placement, int input_width, int input_height, int width,
                                  int height) {
    struct Box {
        float ymin, xmin, ymax, xmax, area;
        std::size_t row;
    };
    std::vector<Box> found;
    for (std::size_t row = 0; row < count; row++) {
        if (!(scores[row] >= limits.score)) continue;
        const float* b = boxes + 4 * row;
        Box box = {b[0] - b[2] / 2, b[1] - b[3] / 2, b[0] + b[2] / 2, b[1] + b[3] / 2, 0, row};
        box.area = std::max(box.ymax - box.ymin, 0.f) * std::max(box.xmax - box.xmin, 0.f);
        found.push_back(box);
    }
    std::stable_sort(found.begin(), found.end(), [&](const Box& a, const Box& b) { return scores[a.row] > scores[b.row]; });

    std::vector<Box> kept;
    for (const Box& box : found) {
        if (kept.size() == limits.faces) break;
        bool is_new = true;
        for (const Box& better : kept) {
            const float h = std::min(box.ymax, better.ymax) - std::max(box.ymin, better.ymin);
            const float w = std::min(box.xmax, better.xmax) - std::max(box.xmin, better.xmin);
            const float shared = std::max(h, 0.f) * std::max(w, 0.f);
            if (shared > limits.iou * (box.area + better.area - shared)) {
                is_new = false;
                break;
            }
        }
        if (is_new) kept.push_back(box);
    }

    const auto x_of = [&](float x) { return (x * input_width - placement.left) / placement.width * width; };
    const auto y_of = [&](float y) { return (y * input_height - placement.top) / placement.height * height; };
    const auto cut = [](float value, int most) { return std::min(std::max(value, 0.f), float(most)); };
    std::vector<Face> faces;
    for (const Box& box : kept) {
        Face face = {cut(x_of(box.xmin), width), cut(y_of(box.ymin), height), cut(x_of(box.xmax), width), cut(y_of(box.ymax), height),
                     scores[box.row], {}};
        for (std::size_t p = 0; points && p < num_points; p++) {
            const float* yx = points + 2 * (box.row * num_points + p);
            face.points.push_back({x_of(yx[1]), y_of(yx[0])});
        }
        faces.push_back(face);
    }
    return faces;
}

}  // namespace facedet
