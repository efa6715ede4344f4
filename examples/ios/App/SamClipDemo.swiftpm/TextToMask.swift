import SamClip
import SamClipCoreML

/// A photo that was encoded once, and may be asked for any text.
struct TextToMask: Sendable {
    let model: SamClip
    let image: EncodedImage

    init(_ photo: Picture, model: SamClip) async throws {
        self.model = model
        image = try await model.encode(photo)
    }

    func mask(of text: String) async throws -> Mask? {
        let found = try await model.segment(image, text: text)
        return found.isPresent ? found.mask : nil
    }
}
