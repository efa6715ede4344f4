import Foundation

/// The most parts of a label's mask that are followed; the largest ones.
private let maxCandidates = 64
/// The least area of a part, in pixels of the decoder's masks.
private let leastPixels = 20.0
/// The same as a share of the largest part's; smaller ones are specks.
private let leastPart = 0.02
/// A piece or a hole below this share of a mask's largest piece is a speck.
private let speckShare = 0.01
/// How far across the threshold the logits of specks are moved.
private let barely: Float = 0.5
/// By how much the threshold is moved to tell whether a mask is stable.
private let stabilityOffset: Float = 1
/// A mask that scores less than this share of its label's best object is only a fragment.
private let leastShare: Float = 0.05
/// The least score of a label that is told from 0; 1 less it is the most.
private let leastFit = 1e-4

/// A mask as the mask decoder draws it.
package struct DrawnMask: Sendable {
    /// Of side x side pixels, in the model's frame.
    let logits: [Float]
    let side: Int
    let frame: Frame
    /// What the logit of the mask's pixels exceeds.
    let threshold: Float
    /// The IoU that the model expects of it.
    package let predictedIoU: Float

    init(logits: [Float], side: Int, frame: Frame, threshold: Float, predictedIoU: Float) {
        self.logits = logits
        self.side = side
        self.frame = frame
        self.threshold = threshold
        self.predictedIoU = predictedIoU
    }

    /// One of the decoder's masks, of logits [K,4,4g,4g] and of IoUs [K,4].
    package init(
        _ lowRes: Tensor, _ scores: Tensor, prompt: Int, token: Int, frame: Frame, threshold: Float
    ) {
        let (side, place) = (lowRes.shape[3], prompt * lowRes.shape[1] + token)
        let area = side * side
        self.init(
            logits: Array(lowRes.floats[(place * area)..<((place + 1) * area)]), side: side,
            frame: frame, threshold: threshold, predictedIoU: scores.floats[place])
    }

    /// The pixels of the mask at its own size; none is in the padding.
    var pixels: [Bool] {
        let covered = frame.covered(side: side)
        return logits.indices.map { pixel in
            pixel / side < covered.rows && pixel % side < covered.columns
                && logits[pixel] > threshold
        }
    }

    /// The mask in the image.
    package var mask: Mask { Mask(logits: inModel, frame: frame, threshold: threshold) }

    /// How many pixels of the image it has, and its stability: the IoU of the masks at thresholds
    /// a little higher and lower, 0 if both are empty.
    func measured() -> (area: Int, stability: Float) {
        let (low, high) = (threshold - stabilityOffset, threshold + stabilityOffset)
        var (most, area, least) = (0, 0, 0)
        upscale(inModel, to: frame, above: low) { _, logit in
            most += logit > low ? 1 : 0
            area += logit > threshold ? 1 : 0
            least += logit > high ? 1 : 0
        }
        return (area, most == 0 ? 0 : Float(least) / Float(most))
    }

    /// The logits [S,S].
    var inModel: ArraySlice<Float> {
        scaled(logits, side: side, to: frame.resolution)[...]
    }

    /// The same without specks and small holes: their logits are moved just across the threshold.
    func withoutSpecks() -> DrawnMask {
        var cleaned = logits
        let pieces = connectedParts(logits.map { $0 > threshold }, side: side, byCorners: true)
        let least = speckShare * Double(pieces.map(\.count).max() ?? 0)
        for speck in pieces where Double(speck.count) < least {
            for pixel in speck { cleaned[pixel] = threshold - barely }
        }
        let holes = connectedParts(cleaned.map { $0 <= threshold }, side: side, byCorners: false)
        for hole in holes where Double(hole.count) < least {
            for pixel in hole { cleaned[pixel] = threshold + barely }
        }
        return DrawnMask(
            logits: cleaned, side: side, frame: frame, threshold: threshold,
            predictedIoU: predictedIoU)
    }

    /// Where a label may have an object: a prompt for each part of its mask that touches no other,
    /// the largest first.
    package func candidates() -> [Candidate] {
        let inside = pixels
        let parts = connectedParts(inside, side: side, byCorners: false)
            .sorted { $0.count > $1.count }
        let least = max(leastPixels, leastPart * Double(parts.first?.count ?? 0))
        let scores = ScoreMap(scores: logits.map { $0 - threshold }, side: side, frame: frame)
        let whole = scores.maskPrompt(side: side)
        return parts.prefix(maxCandidates).filter { Double($0.count) >= least }.map { part in
            var map = whole
            for pixel in map.indices where inside[pixel] { map[pixel] = -ScoreMap.limit }
            for pixel in part { map[pixel] = whole[pixel] }
            return Candidate(
                point: scores.centre(of: deepest(of: part, side: side)),
                corners: scores.corners(of: part), map: map)
        }
    }

    /// The IoU with scores of the same size, pixel by pixel as probabilities.
    func softIoU(_ scores: [Float]) -> Float {
        let covered = frame.covered(side: side)
        var (shared, either): (Float, Float) = (0, 0)
        for row in 0..<covered.rows {
            for pixel in (row * side)..<(row * side + covered.columns) {
                let (drawn, wanted) = (sigmoid(logits[pixel]), sigmoid(scores[pixel]))
                shared += min(drawn, wanted)
                either += max(drawn, wanted)
            }
        }
        return shared / either
    }
}

/// A place where a label may have an object, as the mask decoder is asked for it.
package struct Candidate: Sendable {
    /// (x, y) of the pixel deepest inside it, in pixels of the model's input.
    package let point: [Float]
    /// The corners (x, y) of the box around it.
    package let corners: [[Float]]
    /// The logits of the label's mask without its other parts.
    package let map: [Float]

    /// The best of the decoder's masks: by what it expects of it, and by how well it fits the map.
    package func best(of masks: [DrawnMask]) -> DrawnMask? {
        let worth = masks.map { max($0.predictedIoU, 0) * $0.softIoU(map) }
        return masks.indices.max { worth[$0] < worth[$1] }.map { masks[$0] }
    }
}

/// An object that was found, before it has a mask in the image.
package struct FoundObject: Sendable {
    package let drawn: DrawnMask
    /// The place of its label among all that were asked.
    let label: Int
    package let score: Float
    package let labelScore: Float
    package let stability: Float
}

/// Scores the masks of a label's candidates, and keeps one for each object, the best first.
///
/// - Parameters:
///   - patches: embeddings [1,h*h,E], of unit length.
///   - texts: the embeddings of the words that answer for the label.
///   - label: its place among all that were asked.
package func distinctObjects(
    _ masks: [DrawnMask], patches: Tensor, texts: [[Float]], label: Int,
    calibration: Manifest.Calibration
) -> [FoundObject] {
    let found = masks.map { mask -> (object: FoundObject, area: Int) in
        let clean = mask.withoutSpecks()
        let (area, stability) = clean.measured()
        let seen = pooled(patches, under: clean)
        let cosine = texts.map { dot(seen[...], $0[...]) }.max() ?? -1
        let fits = sigmoid(calibration.scale * (cosine - calibration.bias))
        let score = objectScore(
            fits, predictedIoU: clean.predictedIoU, stability: stability,
            calibration: calibration.objects)
        let object = FoundObject(
            drawn: clean, label: label, score: score, labelScore: fits, stability: stability)
        return (object, area)
    }
    let least = leastShare * (found.map(\.object.score).max() ?? 0)
    // A mask that lies only in the padding may leak a few pixels into the image.
    let kept = found.filter {
        $0.area > 0 && $0.object.drawn.pixels.contains(true) && $0.object.score >= least
    }
    return distinct(kept.map(\.object))
}

/// The probability that an object is right; the product of the three, if not calibrated.
private func objectScore(
    _ fits: Float, predictedIoU: Float, stability: Float, calibration: Manifest.ObjectScore?
) -> Float {
    let predicted = min(max(predictedIoU, 0), 1)
    guard let calibration else { return fits * predicted * stability }
    let share = min(max(Double(fits), leastFit), 1 - leastFit)
    let logit =
        calibration.labelScore * Float(log(share / (1 - share)))
        + calibration.predictedIou * predicted + calibration.stabilityScore * stability
        + calibration.bias
    return sigmoid(min(max(logit, -80), 80))
}

/// The mean of the patches under a mask, each weighted by the share that the mask covers, of unit
/// length.
private func pooled(_ patches: Tensor, under mask: DrawnMask) -> [Float] {
    let (side, width) = (Int(Double(patches.shape[1]).squareRoot()), patches.shape[2])
    let step = mask.side / side
    var shares = [Float](repeating: 0, count: side * side)
    for (pixel, isInside) in mask.pixels.enumerated() where isInside {
        let cell = pixel / mask.side / step * side + pixel % mask.side / step
        shares[cell] += 1 / Float(step * step)
    }
    let values = patches.floats
    var sum = [Float](repeating: 0, count: width)
    for (cell, share) in shares.enumerated() where share > 0 {
        for index in 0..<width { sum[index] += share * values[cell * width + index] }
    }
    return unit(sum)
}

/// Drops what is the same as a better object, or lies inside better ones, at the decoder's size.
private func distinct(_ found: [FoundObject]) -> [FoundObject] {
    var kept: [(object: FoundObject, pixels: [Bool])] = []
    var covered = [Bool](repeating: false, count: found.first?.drawn.logits.count ?? 0)
    for object in found.sorted(by: { $0.score > $1.score }) {
        let pixels = object.drawn.pixels
        let isInside = isCovered(shared(pixels, covered), of: count(pixels))
        if isInside || kept.contains(where: { isSame($0.pixels, pixels) }) { continue }
        kept.append((object, pixels))
        covered = zip(covered, pixels).map { $0 || $1 }
    }
    return kept.map(\.object)
}
