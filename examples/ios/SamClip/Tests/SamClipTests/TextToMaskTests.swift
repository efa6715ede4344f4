import Foundation
import SamClip
import Testing

@Suite struct TextToMaskTests {
    let golden: Goldens

    init() throws { golden = try goldens.get() }

    /// From an image to the masks of a pack's labels, by the bundle's graph and step by step.
    @Test(arguments: [true, false]) func labelsGiveTorchsMasks(byGraph: Bool) async throws {
        let threshold = golden.bundle.manifest.calibration.presenceThreshold
        let copy = try EditedBundle { manifest in
            if !byGraph { manifest["graphs"] = withoutAppGraphs(manifest["graphs"]) }
        }
        let model = try await SamClip.load(from: copy.folder, backend: backend())
        let cases = golden.index.textToMask ?? []
        #expect(!cases.isEmpty)
        for each in cases {
            let pack = try golden.bundle.labelPack(each.pack)
            let image = try await model.encode(golden.rgbImage(each.image))
            await model.learn(pack)
            let found = try await model.segment(image, labels: pack.labels)
            let bits = try golden.bits(each.masks)
            let area = image.frame.height * image.frame.width
            for (place, mask) in found.enumerated() {
                let (presence, score) = (each.presence[place], each.scores[place])
                #expect(abs(mask.presence - presence) <= (isExact ? 1e-3 : 2e-2), "\(mask.label)")
                #expect(mask.isPresent == (presence >= threshold), "\(mask.label)")
                if mask.isPresent {
                    #expect(abs(mask.score - score) <= (isExact ? 1e-2 : 5e-2), "\(mask.label)")
                    let wanted = bits[(place * area)..<((place + 1) * area)]
                    #expect(iou(mask.mask.pixels, wanted) >= (isExact ? 0.99 : 0.95), "\(mask.label)")
                } else {
                    #expect(mask.mask.area == 0)
                }
            }
        }
    }

    private func withoutAppGraphs(_ graphs: Any?) -> [String: Any] {
        let graphs = graphs as? [String: Any] ?? [:]
        return graphs.filter { !$0.key.hasPrefix("text_to_mask@") && !$0.key.hasPrefix("letterbox@") }
    }
}
