// Runs faces.hpp on numbers from standard input, so that a test can compare it with FaceDetector.
//
// In: fit (0 stretch, 1 pad_centre, 2 pad_end), input's and picture's width and height, least score, IoU, faces at most, rows, points of a row;
// then the rows: four of the box, score, y, x of each point. Out: a line a face.
#include <cstdio>
#include <iostream>

#include "../faces.hpp"

int main() {
    int fit, input_width, input_height, width, height;
    facedet::Limits limits;
    std::size_t rows, num_points;
    std::cin >> fit >> input_width >> input_height >> width >> height >> limits.score >> limits.iou >> limits.faces >> rows >> num_points;
    std::vector<float> boxes(4 * rows), scores(rows), points(2 * num_points * rows);
    for (std::size_t row = 0; row < rows; row++) {
        for (int i = 0; i < 4; i++) std::cin >> boxes[4 * row + i];
        std::cin >> scores[row];
        for (std::size_t i = 0; i < 2 * num_points; i++) std::cin >> points[2 * num_points * row + i];
    }
    if (!std::cin) return 1;
    const facedet::Placement at = facedet::place(static_cast<facedet::Fit>(fit), input_width, input_height, width, height);
    for (const facedet::Face& face : facedet::faces_of(boxes.data(), scores.data(), num_points ? points.data() : nullptr, rows, num_points, limits, at,
                                                       input_width, input_height, width, height)) {
        std::printf("%.9g %.9g %.9g %.9g %.9g", face.score, face.xmin, face.ymin, face.xmax, face.ymax);
        for (const std::pair<float, float>& point : face.points) std::printf(" %.9g %.9g", point.first, point.second);
        std::printf("\n");
    }
    return 0;
}
