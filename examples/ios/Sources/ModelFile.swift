import Foundation

/// How a picture keeps its aspect in the input: at the input's start or in its middle; fill: red, green, blue of the rest.
struct Padding {
    let atEnd: Bool
    let fill: [UInt8]
}

enum ModelError: Error, LocalizedError {
    case notExported(String)
    case broken(file: String, key: String)

    var errorDescription: String? {
        switch self {
        case .notExported(let file): return "\(file) holds no facedet.json: it was not made by scripts/export_tflite.py."
        case .broken(let file, let key): return "\(file): \(key) in its facedet.json cannot be used: export the file anew."
        }
    }
}

/// What an exported .tflite says of itself: the facedet.json that the export packed behind it as a zip. Foundation only.
struct ModelFile {
    let isInt8: Bool
    let withNms: Bool
    let scoreThreshold: Float
    let iouThreshold: Float
    let maxDetections: Int
    let landmarks: Int
    /// Nil: pictures are stretched to the input.
    let padding: Padding?

    init(name: String, data: Data) throws {
        guard let json = ModelFile.packed("facedet.json", in: [UInt8](data)),
            let details = try? JSONSerialization.jsonObject(with: json) as? [String: Any]
        else { throw ModelError.notExported(name) }
        func value<T>(_ key: String, _ accepted: (T) -> Bool = { _ in true }) throws -> T {
            guard let found = details[key] as? T, accepted(found) else { throw ModelError.broken(file: name, key: key) }
            return found
        }
        let isFraction = { (number: Double) in (0...1).contains(number) }
        isInt8 = try value("precision") { ["float32", "float16", "int8"].contains($0) } == "int8"
        withNms = try value("with_nms")
        scoreThreshold = Float(try value("score_threshold", isFraction) as Double)
        iouThreshold = Float(try value("iou_threshold", isFraction) as Double)
        maxDetections = try value("max_detections") { $0 > 0 }
        landmarks = details["landmarks"] == nil ? 0 : try value("landmarks") { [0, 5, 6].contains($0) }
        if let told = details["padding"] as? [String: Any] {
            guard let place = told["place"] as? String, ["centre", "end"].contains(place),
                let fill = told["fill"] as? [Int], fill.count == 3, fill.allSatisfy({ (0...255).contains($0) })
            else { throw ModelError.broken(file: name, key: "padding") }
            padding = Padding(atEnd: place == "end", fill: fill.map { UInt8($0) })
        } else {
            padding = nil
        }
    }

    /// Names of the outputs, in the file's order.
    var outputs: [String] {
        if withNms {
            return landmarks > 0
                ? ["detection_boxes", "detection_scores", "detection_landmarks", "num_detections"]
                : ["detection_boxes", "detection_classes", "detection_scores", "num_detections"]
        }
        return landmarks > 0 ? ["raw_boxes", "raw_scores", "raw_landmarks"] : ["raw_boxes", "raw_scores"]
    }

    /// A file that is stored as it is in the zip at the end of bytes; nil where there is none, or where the zip is damaged.
    private static func packed(_ wanted: String, in bytes: [UInt8]) -> Data? {
        func number(_ at: Int, _ count: Int) -> Int? {
            guard at >= 0, at + count <= bytes.count else { return nil }
            return (0..<count).reduce(0) { $0 | Int(bytes[at + $1]) << (8 * $1) }
        }
        func slice(_ from: Int, _ count: Int) -> ArraySlice<UInt8>? {
            from >= 0 && count >= 0 && from + count <= bytes.count ? bytes[from..<from + count] : nil
        }
        let (endMark, entryMark, endSize) = (0x0605_4b50, 0x0201_4b50, 22)
        guard bytes.count >= endSize,
            let end = stride(from: bytes.count - endSize, through: 0, by: -1).first(where: { number($0, 4) == endMark }),
            var entry = number(end + 16, 4)
        else { return nil }
        while entry < end, number(entry, 4) == entryMark {
            guard let name = number(entry + 28, 2), let extra = number(entry + 30, 2), let comment = number(entry + 32, 2) else { return nil }
            if let called = slice(entry + 46, name), String(decoding: called, as: UTF8.self) == wanted {
                guard let from = number(entry + 42, 4), let size = number(entry + 20, 4),
                    let before = number(from + 26, 2), let more = number(from + 28, 2)
                else { return nil }
                return slice(from + 30 + before + more, size).map { Data($0) }
            }
            entry += 46 + name + extra + comment
        }
        return nil
    }
}
