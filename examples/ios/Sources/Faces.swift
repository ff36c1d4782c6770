/// In fractions of the picture.
struct Point {
    let x: Float
    let y: Float
}

/// A face, in fractions of the picture. landmarks, the left of the picture first: of five, eyes, nose, mouth corners; of six, eyes, nose tip,
/// mouth centre, ears; they may lie outside of it. Nil where the file has none.
struct Face {
    let left: Float
    let top: Float
    let right: Float
    let bottom: Float
    let score: Float
    let landmarks: [Point]?
}

/// Outputs of any exported file -> faces. Line by line what Faces.kt is in the Android example.
enum Faces {
    /// Best first. outputs: by their names (num_detections as a float).  place: of the picture in the input.
    static func find(_ file: ModelFile, outputs: [String: [Float]], leastScore: Float, place: Placement) -> [Face] {
        func output(_ name: String) -> [Float] {
            guard let values = outputs[name] else { preconditionFailure("the file gives \(outputs.keys), no \(name)") }
            return values
        }
        /// Of row i, [N * 2 * count] y, x; in fractions of the input.
        func points(_ values: [Float]?, _ i: Int) -> [Point]? {
            values.map { all in
                (0..<file.landmarks).map { Point(x: all[2 * (file.landmarks * i + $0) + 1], y: all[2 * (file.landmarks * i + $0)]) }
            }
        }
        var found: [Face] = []
        if file.withNms {
            let (boxes, scores) = (output("detection_boxes"), output("detection_scores"))
            let count = Int(output("num_detections")[0])  // rows past it hold no detection
            for i in 0..<count where scores[i] >= leastScore {
                found.append(
                    Face(
                        left: boxes[4 * i + 1], top: boxes[4 * i], right: boxes[4 * i + 3], bottom: boxes[4 * i + 2], score: scores[i],
                        landmarks: points(outputs["detection_landmarks"], i)))
            }
        } else {
            let (boxes, scores) = (output("raw_boxes"), output("raw_scores"))
            let least = max(leastScore, file.scoreThreshold)
            let order = scores.indices.filter { scores[$0] >= least }.sorted { scores[$0] > scores[$1] }
            for i in order {  // greedy non-maximum suppression
                let (y, x, height, width) = (boxes[4 * i], boxes[4 * i + 1], boxes[4 * i + 2] / 2, boxes[4 * i + 3] / 2)
                let face = Face(
                    left: x - width, top: y - height, right: x + width, bottom: y + height, score: scores[i],
                    landmarks: points(outputs["raw_landmarks"], i))
                if found.allSatisfy({ overlap($0, face) <= file.iouThreshold }) { found.append(face) }
                if found.count == file.maxDetections { break }
            }
        }
        return found.map { inPicture($0, place) }
    }

    private static func inPicture(_ face: Face, _ place: Placement) -> Face {
        func inside(_ value: Float) -> Float { min(1, max(0, value)) }
        return Face(
            left: inside(place.x(face.left)), top: inside(place.y(face.top)), right: inside(place.x(face.right)),
            bottom: inside(place.y(face.bottom)), score: face.score,
            landmarks: face.landmarks?.map { Point(x: place.x($0.x), y: place.y($0.y)) })
    }

    /// Intersection over union.
    static func overlap(_ a: Face, _ b: Face) -> Float {
        let width = min(a.right, b.right) - max(a.left, b.left)
        let height = min(a.bottom, b.bottom) - max(a.top, b.top)
        if width <= 0 || height <= 0 { return 0 }
        let shared = width * height
        return shared / ((a.right - a.left) * (a.bottom - a.top) + (b.right - b.left) * (b.bottom - b.top) - shared)
    }
}
