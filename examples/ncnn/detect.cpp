// Faces in a picture by ncnn: a line a face, score, box and points in px.
//
//     detect NAME.param NAME.bin picture.ppm [stretch|pad_centre|pad_end [red green blue]] > faces.txt
//
// The picture is a binary PPM (convert photo.jpg photo.ppm). How it is fitted stands in the model card beside the files, and so do the limits
// below. The size of the input is read from the .param.
#include <ncnn/net.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "faces.hpp"
#include "resize.hpp"

static const facedet::Limits LIMITS = {0.5f, 0.5f, 300};  // least score, IoU, number: the card's, the score as you need it

struct Picture {
    int width, height;
    std::vector<unsigned char> rgb;
};

static bool read_ppm(const char* path, Picture& picture) {
    std::ifstream file(path, std::ios::binary);
    std::string magic;
    int most = 0;
    if (!(file >> magic >> picture.width >> picture.height >> most) || magic != "P6" || most != 255) return false;
    if (picture.width < 1 || picture.height < 1 || picture.width > 16384 || picture.height > 16384) return false;
    file.get();
    picture.rgb.resize(std::size_t(3) * picture.width * picture.height);
    return bool(file.read(reinterpret_cast<char*>(picture.rgb.data()), std::streamsize(picture.rgb.size())));
}

// Width and height from the line "Input image 0 1 image 0=W 1=H 2=3".
static bool read_input_size(const char* param, int& width, int& height) {
    std::ifstream file(param);
    std::string line;
    while (std::getline(file, line))
        if (line.compare(0, 6, "Input ") == 0) {
            const std::size_t at = line.find("0=");
            return at != std::string::npos && std::sscanf(line.c_str() + at, "0=%d 1=%d", &width, &height) == 2;
        }
    return false;
}

int main(int count, char** words) {
    if (count != 4 && count != 5 && count != 8) {
        std::fprintf(stderr, "usage: %s NAME.param NAME.bin picture.ppm [stretch|pad_centre|pad_end [red green blue]]\n", words[0]);
        return 2;
    }
    const std::string how = count > 4 ? words[4] : "stretch";
    const facedet::Fit fit = how == "pad_centre" ? facedet::Fit::pad_centre : how == "pad_end" ? facedet::Fit::pad_end : facedet::Fit::stretch;
    Picture picture;
    int input_width = 0, input_height = 0;
    if (!read_ppm(words[3], picture)) {
        std::fprintf(stderr, "%s is no binary PPM of 8 bits.\n", words[3]);
        return 1;
    }
    ncnn::Net net;
    net.opt.use_fp16_arithmetic = false;  // in 16 bits boxes are off by parts of a pixel
    net.opt.use_fp16_storage = false;
    if (!read_input_size(words[1], input_width, input_height) || net.load_param(words[1]) || net.load_model(words[2])) {
        std::fprintf(stderr, "%s or %s cannot be opened.\n", words[1], words[2]);
        return 1;
    }

    const facedet::Placement at = facedet::place(fit, input_width, input_height, picture.width, picture.height);
    const std::vector<float> rgb = facedet::resized(picture.rgb.data(), picture.width, picture.height, at.width, at.height);
    ncnn::Mat image(input_width, input_height, 3);  // RGB 0..255: the network normalizes by itself
    for (int channel = 0; channel < 3; channel++) {
        image.channel(channel).fill(count == 8 ? float(std::atof(words[5 + channel])) : 0.f);
        for (int y = 0; y < at.height; y++)
            for (int x = 0; x < at.width; x++)
                image.channel(channel).row(at.top + y)[at.left + x] = rgb[3 * (std::size_t(y) * at.width + x) + channel];
    }

    ncnn::Extractor extractor = net.create_extractor();
    ncnn::Mat boxes, scores, points;
    bool has_points = false;
    for (const char* name : net.output_names()) has_points = has_points || std::string(name) == "raw_landmarks";
    if (extractor.input("image", image) || extractor.extract("raw_boxes", boxes) || extractor.extract("raw_scores", scores) ||
        (has_points && extractor.extract("raw_landmarks", points))) {
        std::fprintf(stderr, "The network fails.\n");
        return 1;
    }
    const std::size_t num_points = has_points ? std::size_t(points.w / 2) : 0;
    for (const facedet::Face& face : facedet::faces_of(boxes, scores, has_points ? (const float*)points : nullptr, std::size_t(boxes.h), num_points,
                                                       LIMITS, at, input_width, input_height, picture.width, picture.height)) {
        std::printf("%.3f  %.1f %.1f %.1f %.1f", face.score, face.xmin, face.ymin, face.xmax, face.ymax);
        for (const std::pair<float, float>& point : face.points) std::printf("  %.1f %.1f", point.first, point.second);
        std::printf("\n");
    }
    return 0;
}
