import CoreGraphics
import Foundation
import TensorFlowLite

/// The int8 file on the CPU. One thread at a time.
final class FaceFinder {
    private let file: ModelFile
    private let interpreter: Interpreter
    private let height: Int
    private let width: Int

    /// path: of a .tflite with uint8 or float32 input.
    init(path: String) throws {
        file = try ModelFile(name: (path as NSString).lastPathComponent, data: Data(contentsOf: URL(fileURLWithPath: path)))
        interpreter = try Interpreter(modelPath: path)
        try interpreter.allocateTensors()
        let shape = try interpreter.input(at: 0).shape.dimensions  // 1, height, width, 3
        (height, width) = (shape[1], shape[2])
    }

    func find(_ picture: CGImage, leastScore: Float) throws -> [Face] {
        let place = Placement.fit(
            inputHeight: height, inputWidth: width, padding: file.padding, height: picture.height, width: picture.width)
        let rgb = pixels(picture, place)
        let isBytes = try interpreter.input(at: 0).dataType == .uInt8
        try interpreter.copy(isBytes ? Data(rgb) : rgb.map { Float32($0) }.withUnsafeBytes { Data($0) }, toInputAt: 0)
        try interpreter.invoke()
        var outputs: [String: [Float]] = [:]
        for (i, name) in file.outputs.enumerated() {
            let tensor = try interpreter.output(at: i)
            outputs[name] = tensor.data.withUnsafeBytes { bytes in
                tensor.dataType == .int32 ? bytes.bindMemory(to: Int32.self).map { Float($0) } : Array(bytes.bindMemory(to: Float32.self))
            }
        }
        return Faces.find(file, outputs: outputs, leastScore: leastScore, place: place)
    }

    /// The picture at its place in the input, the padding filled -> RGB bytes, the top row first.
    private func pixels(_ picture: CGImage, _ place: Placement) -> [UInt8] {
        var rgba = [UInt8](repeating: 255, count: 4 * height * width)
        let fill = file.padding?.fill ?? [0, 0, 0]
        for i in 0..<height * width { rgba.replaceSubrange(4 * i..<4 * i + 3, with: fill) }
        rgba.withUnsafeMutableBytes { bytes in
            let context = CGContext(
                data: bytes.baseAddress, width: width, height: height, bitsPerComponent: 8, bytesPerRow: 4 * width,
                space: CGColorSpaceCreateDeviceRGB(), bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue)
            context?.interpolationQuality = .medium
            // Core Graphics counts rows from below
            context?.draw(picture, in: CGRect(x: place.left, y: height - place.top - place.height, width: place.width, height: place.height))
        }
        return (0..<3 * height * width).map { rgba[4 * ($0 / 3) + $0 % 3] }
    }
}
