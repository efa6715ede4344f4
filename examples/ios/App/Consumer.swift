import Foundation
import SamClip
import SamClipOnnx

// A program of somebody who took the package by its URL.
let folder = URL(fileURLWithPath: CommandLine.arguments[1])
let model = try await SamClip.load(from: folder, backend: OnnxBackend())
let words = try await model.words()
let image = try await model.encode(RgbImage(rgb: Array(repeating: 90, count: 48), height: 4, width: 4))
let found = try await model.segment(image, labels: [words[0]])
print("a program by URL read \(words.count) words, and asked for \(found[0].label)")
