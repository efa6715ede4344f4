import { InferenceSession } from 'onnxruntime-react-native';
import { useEffect, useState } from 'react';
import { type Manifest, TextToMask } from './textToMask';

/** The model of a bundle that lies in a folder of the device; null while it opens. */
export function useTextToMask(folder: string, manifest: Manifest): { model: TextToMask | null; error: Error | null } {
  const [model, setModel] = useState<TextToMask | null>(null);
  const [error, setError] = useState<Error | null>(null);

  useEffect(() => {
    let gone = false;
    let opened: TextToMask | null = null;
    TextToMask.load(folder, manifest, (path) => InferenceSession.create(path)).then(
      (loaded) => {
        opened = loaded;
        if (gone) void loaded.close();
        else setModel(loaded);
      },
      (reason: Error) => {
        if (!gone) setError(reason);
      },
    );
    return () => {
      gone = true;
      setModel(null);
      setError(null);
      void opened?.close();
    };
  }, [folder, manifest]);

  return { model, error };
}
