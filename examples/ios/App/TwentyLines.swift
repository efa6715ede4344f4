import SamClip
import SamClipCoreML
import SwiftUI

struct ContentView: View {
    @State private var overlay: CGImage?
    private let photo = UIImage(named: "photo")!.cgImage!

    var body: some View {
        Image(decorative: photo, scale: 1).resizable().scaledToFit()
            .overlay { overlay.map { Image(decorative: $0, scale: 1).resizable() } }
            .task { overlay = try? await find("dog") }
    }

    private func find(_ text: String) async throws -> CGImage {
        let folder = Bundle.main.url(forResource: "samclip-mobile", withExtension: nil)!
        let model = try await SamClip.load(from: folder, backend: CoreMLBackend())
        let image = try await model.encode(RgbImage(photo))
        return try await model.segment(image, text: text).mask.cgImage(red: 1, green: 0.3, blue: 0)
    }
}
