import CoreGraphics
import Foundation
import Observation
import SamClip
import SamClipCoreML

/// What the screen shows: a photo, the mask of a text, and how long each step took.
@MainActor @Observable
final class Finder {
    private(set) var photo: CGImage?
    private(set) var overlay: CGImage?
    private(set) var message = "Opening the model; the first time takes a while"
    private(set) var isReady = false

    private var model: SamClip?
    private var image: EncodedImage?

    /// Opens the bundle that was copied into the app.
    func open(_ folder: URL?) async {
        await step("The model is open") {
            guard let folder else {
                throw SamClipError.bundle("the app has no folder samclip-mobile: see README.md")
            }
            let opened = try await SamClip.load(from: folder, backend: CoreMLBackend())
            try await opened.prewarm()
            model = opened
        }
    }

    func show(_ photo: CGImage) async {
        guard let model else { return }
        self.photo = photo
        overlay = nil
        image = nil
        await step("Encoded") { image = try await model.encode(RgbImage(photo)) }
    }

    func find(_ text: String) async {
        guard let model, let image else { return }
        await step("Found \(text)") {
            overlay = nil
            let found = try await model.segment(image, text: text)
            let words = (found.readAs?.words ?? []).joined(separator: " or ")
            if found.readAs?.kind == .unknown {
                throw SamClipError.text("The model does not know \(text); the nearest is \(words)")
            }
            let asked = words.isEmpty ? text : "\(text), read as \(words),"
            guard found.isPresent else {
                throw SamClipError.text("There is no \(asked) in this photo")
            }
            overlay = try found.mask.cgImage(red: 1, green: 0.3, blue: 0)
        }
    }

    private func step(_ name: String, _ work: () async throws -> Void) async {
        isReady = false
        let start = ContinuousClock.now
        do {
            try await work()
            let time = (ContinuousClock.now - start).formatted(.units(allowed: [.milliseconds]))
            message = "\(name), \(time)"
        } catch {
            message = error.localizedDescription
        }
        isReady = model != nil
    }
}
