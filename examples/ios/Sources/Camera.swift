import AVFoundation
import CoreImage

/// The front camera's newest frame, upright and not mirrored, on a queue of its own.
final class Camera: NSObject, AVCaptureVideoDataOutputSampleBufferDelegate {
    private let session = AVCaptureSession()
    private let queue = DispatchQueue(label: "camera")
    private let context = CIContext()
    private let onFrame: (CGImage) -> Void

    init(onFrame: @escaping (CGImage) -> Void) {
        self.onFrame = onFrame
    }

    /// Nil when it runs, else a sentence that says why there is no picture.
    func start() async -> String? {
        guard await AVCaptureDevice.requestAccess(for: .video) else {
            return "No camera: it was not allowed. Allow it in Settings, under this app's name."
        }
        guard let device = AVCaptureDevice.default(.builtInWideAngleCamera, for: .video, position: .front),
            let input = try? AVCaptureDeviceInput(device: device), session.canAddInput(input)
        else { return "No camera: this device has none at its front." }
        let output = AVCaptureVideoDataOutput()
        output.alwaysDiscardsLateVideoFrames = true
        output.setSampleBufferDelegate(self, queue: queue)
        guard session.canAddOutput(output) else { return "No camera: another app is using it." }
        session.addInput(input)
        session.addOutput(output)
        if let connection = output.connection(with: .video) {
            connection.videoOrientation = .portrait
            connection.automaticallyAdjustsVideoMirroring = false
            connection.isVideoMirrored = false
        }
        queue.async { self.session.startRunning() }
        return nil
    }

    func captureOutput(_ output: AVCaptureOutput, didOutput sample: CMSampleBuffer, from connection: AVCaptureConnection) {
        guard let buffer = CMSampleBufferGetImageBuffer(sample) else { return }
        let image = CIImage(cvPixelBuffer: buffer)
        if let frame = context.createCGImage(image, from: image.extent) { onFrame(frame) }
    }
}
