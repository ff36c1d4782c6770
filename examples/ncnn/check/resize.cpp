// Runs resize.hpp on a picture from standard input, so that a test can compare it with FaceDetector's: width, height, the wanted ones, then the
// bytes RGB row by row. Out: the bytes of the new one.
#include <cstdio>
#include <vector>

#include "../resize.hpp"

int main() {
    int width, height, to_width, to_height;
    if (std::scanf("%d %d %d %d", &width, &height, &to_width, &to_height) != 4) return 1;
    std::getchar();
    std::vector<unsigned char> rgb(std::size_t(3) * width * height);
    if (std::fread(rgb.data(), 1, rgb.size(), stdin) != rgb.size()) return 1;
    for (const float value : facedet::resized(rgb.data(), width, height, to_width, to_height)) std::putchar(int(value));
    return 0;
}
