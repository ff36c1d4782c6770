// A picture in another size, each pixel the mean of those that it stands for, the nearer ones weighing more: small faces in a large picture
// are lost where a pixel is made of four alone. Plain C++11, no ncnn; facedet/runtime/input_spec.py does the same.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace facedet {

// Which pixels of a row a new one is made of: those from `first` on, with these weights, whose sum is 1.
struct Mixture {
    int first;
    std::vector<float> weights;
};

inline std::vector<Mixture> mixtures(int from, int to) {
    const double scale = double(from) / to, reach = std::max(scale, 1.0);
    std::vector<Mixture> made;
    for (int pixel = 0; pixel < to; pixel++) {
        const double centre = (pixel + 0.5) * scale;
        const int first = std::max(0, int(std::floor(centre - reach))), end = std::min(from, int(std::ceil(centre + reach)));
        Mixture mixture = {first, {}};
        double sum = 0;
        for (int i = first; i < end; i++) {
            mixture.weights.push_back(float(std::max(0.0, 1 - std::abs(i + 0.5 - centre) / reach)));
            sum += mixture.weights.back();
        }
        for (float& weight : mixture.weights) weight = float(weight / sum);
        made.push_back(mixture);
    }
    return made;
}

// rgb: 3 * width * height values, row by row -> 3 * to_width * to_height whole numbers 0..255.
inline std::vector<float> resized(const unsigned char* rgb, int width, int height, int to_width, int to_height) {
    const std::vector<Mixture> columns = mixtures(width, to_width), rows = mixtures(height, to_height);
    std::vector<float> narrow(std::size_t(3) * to_width * height), made(std::size_t(3) * to_width * to_height);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < to_width; x++)
            for (int channel = 0; channel < 3; channel++) {
                const unsigned char* pixel = rgb + 3 * (std::size_t(y) * width + columns[x].first) + channel;
                float sum = 0;
                for (std::size_t i = 0; i < columns[x].weights.size(); i++) sum += columns[x].weights[i] * pixel[3 * i];
                narrow[3 * (std::size_t(y) * to_width + x) + channel] = sum;
            }
    const std::size_t row = std::size_t(3) * to_width;
    for (int y = 0; y < to_height; y++)
        for (std::size_t i = 0; i < row; i++) {
            float sum = 0;
            for (std::size_t k = 0; k < rows[y].weights.size(); k++) sum += rows[y].weights[k] * narrow[(rows[y].first + k) * row + i];
            made[y * row + i] = std::floor(sum + 0.5f);
        }
    return made;
}

}  // namespace facedet
