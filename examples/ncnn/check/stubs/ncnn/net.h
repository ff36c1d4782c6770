// The declarations of ncnn that detect.cpp uses, to check its types where there is no ncnn: nothing here computes anything.
#pragma once

#include <vector>

namespace ncnn {

class Mat {
public:
    Mat();
    Mat(int w, int h, int c);
    Mat channel(int c);
    float* row(int y);
    void fill(float value);
    operator float*();
    operator const float*() const;
    int w, h, c;
};

class Option {
public:
    bool use_fp16_arithmetic, use_fp16_storage;
};

class Extractor {
public:
    int input(const char* blob_name, const Mat& in);
    int extract(const char* blob_name, Mat& feat, int type = 0);
};

class Net {
public:
    Option opt;
    int load_param(const char* path);
    int load_model(const char* path);
    Extractor create_extractor() const;
    const std::vector<const char*>& output_names() const;
};

}  // namespace ncnn
