import SwiftUI

@main
struct FacesApp: App {
    var body: some Scene {
        WindowGroup { FacesView() }
    }
}

/// What is seen: written on the main thread, found on the camera's.
@MainActor
final class Seen: ObservableObject {
    @Published var picture: CGImage?
    @Published var faces: [Face] = []
    @Published var line = "Starting …"
    private var camera: Camera?

    func start() async {
        guard camera == nil else { return }
        guard let path = Bundle.main.path(forResource: "int8", ofType: "tflite") else {
            line = "int8.tflite is missing: see the README of this example."
            return
        }
        do {
            let finder = try FaceFinder(path: path)
            let camera = Camera { [weak self] frame in
                let begin = Date()
                let result = Result { try finder.find(frame, leastScore: 0.5) }
                let took = Int(Date().timeIntervalSince(begin) * 1000)
                Task { @MainActor in self?.show(frame, result, took) }
            }
            self.camera = camera
            if let reason = await camera.start() { line = reason }
        } catch {
            line = error.localizedDescription
        }
    }

    private func show(_ frame: CGImage, _ result: Result<[Face], Error>, _ took: Int) {
        picture = frame
        switch result {
        case .success(let found):
            faces = found
            line = "\(found.count) \(found.count == 1 ? "face" : "faces"), \(took) ms"
        case .failure(let error):
            line = error.localizedDescription
        }
    }
}

/// The picture fitted into the view as a mirror shows it, boxes and landmarks over it, a line of text.
struct FacesView: View {
    @StateObject private var seen = Seen()

    var body: some View {
        ZStack(alignment: .bottomLeading) {
            Color.black.ignoresSafeArea()
            Canvas { context, size in draw(&context, size) }
                .scaleEffect(x: -1, y: 1)
                .accessibilityHidden(true)
            Text(seen.line).foregroundColor(.white).padding()
        }
        .task { await seen.start() }
    }

    private func draw(_ context: inout GraphicsContext, _ size: CGSize) {
        guard let picture = seen.picture else { return }
        let scale = min(size.width / CGFloat(picture.width), size.height / CGFloat(picture.height))
        let (w, h) = (CGFloat(picture.width) * scale, CGFloat(picture.height) * scale)
        let place = CGRect(x: (size.width - w) / 2, y: (size.height - h) / 2, width: w, height: h)
        context.draw(Image(decorative: picture, scale: 1), in: place)
        for face in seen.faces {
            let box = CGRect(
                x: place.minX + CGFloat(face.left) * w, y: place.minY + CGFloat(face.top) * h,
                width: CGFloat(face.right - face.left) * w, height: CGFloat(face.bottom - face.top) * h)
            context.stroke(Path(box), with: .color(.green), lineWidth: 3)
            for point in face.landmarks ?? [] {
                let dot = CGRect(x: place.minX + CGFloat(point.x) * w - 3, y: place.minY + CGFloat(point.y) * h - 3, width: 6, height: 6)
                context.fill(Path(ellipseIn: dot), with: .color(.yellow))
            }
        }
    }
}
