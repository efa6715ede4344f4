import Foundation
import SamClip
import Testing

#if canImport(SamClipOnnx)
import SamClipOnnx
#endif

/// What docs/embed/ios.md shows.
@Suite struct DocsTests {
    private func page() throws -> String {
        let path = repository.appendingPathComponent("docs/embed/ios.md")
        return try String(contentsOf: path, encoding: .utf8)
    }

    @Test func theTwentyLinesAreTheFileAndTwenty() throws {
        let path = repository.appendingPathComponent("examples/ios/App/TwentyLines.swift")
        let code = try String(contentsOf: path, encoding: .utf8)
        #expect(try page().contains("```swift\n\(code)```"))
        #expect(code.split(separator: "\n").count <= 20)
    }

    /// The lines between the marks are the page's, and run here.
    @Test func theLinesForLinuxRun() async throws {
        let golden = try goldens.get()
        let sample = try #require(golden.index.textToMask?.first)
        let (folder, rgbImage) = (bundleFolder, try golden.rgbImage(sample.image))
        #if canImport(SamClipOnnx)
        // begin
        let model = try await SamClip.load(from: folder, backend: OnnxBackend())
        let image = try await model.encode(rgbImage)
        let found = try await model.segment(image, labels: ["dog", "cat"])
        for label in found where label.isPresent {
            print(label.label, label.presence, label.mask.area)
        }
        // end
        #expect(found.count == 2)
        // begin
        for object in try await model.segmentInstances(image, labels: ["dog", "cat"]) {
            print(object.label, object.score, object.mask.area)
        }
        // end
        #endif
        let source = try String(contentsOfFile: #filePath, encoding: .utf8)
        for part in source.components(separatedBy: "// begin\n").dropFirst() {
            let lines = part.components(separatedBy: "        // end")[0]
            let code = lines.replacingOccurrences(of: "\n        ", with: "\n").dropFirst(8)
            #expect(try page().contains("```swift\n\(code)```"))
        }
    }
}
