/// The part of the input that a picture fills, in pixels: what InputSpec.fit and Placement are in facedet/runtime/input_spec.py.
struct Placement {
    let top: Int
    let left: Int
    let height: Int
    let width: Int
    let inputHeight: Int
    let inputWidth: Int

    /// height, width: of the picture. Without padding it is stretched.
    static func fit(inputHeight: Int, inputWidth: Int, padding: Padding?, height: Int, width: Int) -> Placement {
        guard let padding else {
            return Placement(top: 0, left: 0, height: inputHeight, width: inputWidth, inputHeight: inputHeight, inputWidth: inputWidth)
        }
        let ratio = min(Double(inputHeight) / Double(height), Double(inputWidth) / Double(width))
        // halves to the even neighbour, as Python's round does
        func fitted(_ side: Int, _ old: Int) -> Int { min(side, max(1, Int((Double(old) * ratio).rounded(.toNearestOrEven)))) }
        let (h, w) = (fitted(inputHeight, height), fitted(inputWidth, width))
        return Placement(
            top: padding.atEnd ? 0 : (inputHeight - h) / 2, left: padding.atEnd ? 0 : (inputWidth - w) / 2,
            height: h, width: w, inputHeight: inputHeight, inputWidth: inputWidth)
    }

    /// A fraction of the input's width -> of the picture's.
    func x(_ ofInput: Float) -> Float { (ofInput - Float(left) / Float(inputWidth)) / (Float(width) / Float(inputWidth)) }

    /// A fraction of the input's height -> of the picture's.
    func y(_ ofInput: Float) -> Float { (ofInput - Float(top) / Float(inputHeight)) / (Float(height) / Float(inputHeight)) }
}
